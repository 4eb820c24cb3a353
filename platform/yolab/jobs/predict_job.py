"""Predict: detect objects in images and draw them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yolab.data import coco
from yolab.data.coco import Sample
from yolab.data.loader import EvaluationBatches
from yolab.errors import UsageError
from yolab.evaluation.detect import ImageDetections, detect
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher
from yolab.jobs.weights_source import open_weights
from yolab.models.detector import Detector
from yolab.models.device import choose_device
from yolab.models.suppression import IOU, SHOWN_CONFIDENCE
from yolab.reports.pictures import save_detections, save_objectness
from yolab.storage import Storage

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class DetectedObject:
    """An object by the name of its class: score in 0..1, box x1 y1 x2 y2 in the image's pixels."""

    name: str
    score: float
    box: tuple[float, ...]


@dataclass(frozen=True)
class ImagePrediction:
    """Of one image: the objects, by falling score, and where they are drawn; `objectness`: where the maps are."""

    image: str
    picture: str
    objects: tuple[DetectedObject, ...]
    objectness: str | None = None

    def document(self) -> dict[str, Any]:
        objects = [
            {"class": each.name, "score": round(each.score, 4), "box": [round(side, 1) for side in each.box]}
            for each in self.objects
        ]
        maps = {"objectness": self.objectness} if self.objectness else {}
        return {"image": self.image, "picture": self.picture, "objects": objects} | maps


@dataclass(frozen=True)
class Predictions(Result):
    """`images` in the order in which they were given."""

    images: tuple[ImagePrediction, ...]

    def document(self) -> list[dict[str, Any]]:
        return [each.document() for each in self.images]

    def __iter__(self) -> Iterator[ImagePrediction]:
        return iter(self.images)


def predict(
    images: str | Path | Sequence[str | Path],
    weights: str | Path,
    *,
    output: str | Path | None = None,
    confidence: float | None = None,
    iou: float | None = None,
    size: int | None = None,
    objectness: bool = False,
    most: int | None = None,
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> Predictions:
    """Detect objects in images and save pictures with the boxes drawn into the folder `output` (None:
    `predictions` in the storage).

    images: files, or folders of them. weights: a .safetensors or .onnx file, or models:/NAME@ALIAS. confidence, iou:
    what `suppression.suppress` takes; None: its settings for boxes that are shown. size: the long side in pixels;
    None: as trained. objectness: also draw where each head sees objects. most: look at so many images of those given.
    Raises UsageError.
    """
    if objectness and str(weights).endswith(".onnx"):
        raise UsageError("--objectness looks inside the model: give the weights that the .onnx file was made of.")
    samples = coco.unlabelled(_files([images] if isinstance(images, (str, Path)) else images)[:most])
    model, spec = open_weights(weights, storage)
    image_size = size or spec.image_size
    detections = detect(
        model.to(choose_device()),
        samples,
        image_size,
        batch=8,
        confidence=SHOWN_CONFIDENCE if confidence is None else confidence,
        iou=IOU if iou is None else iou,
        progress=lambda done, total: watcher.progress("Detecting", done, total),
    )
    folder = Path(output) if output else Storage.at(storage).path / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for found in sorted(detections, key=lambda found: found.image_id):
        sample = samples[found.image_id]
        again = any(other.path.stem == sample.path.stem for other in samples[: found.image_id])
        picture = folder / f"{sample.path.stem}{f'-{found.image_id}' if again else ''}.png"
        save_detections(sample, found, spec.names, picture)
        maps = None
        if objectness:
            assert isinstance(model, Detector)
            maps = str(_draw_objectness(model, sample, image_size, picture))
        objects = _objects(found, spec.names)
        results.append(ImagePrediction(str(sample.path), str(picture), objects, maps))
        watcher.note(f"{picture}: {len(objects)} objects")
    return Predictions(tuple(results))


def _objects(found: ImageDetections, names: Sequence[str]) -> tuple[DetectedObject, ...]:
    rows = zip(found.classes.tolist(), found.scores.tolist(), found.boxes.tolist())
    return tuple(DetectedObject(names[label], score, tuple(box)) for label, score, box in rows)


@torch.no_grad()
def _draw_objectness(model: Detector, sample: Sample, size: int, picture: Path) -> Path:
    """Save the maps of the lead head, and of the auxiliary one if the graph has it, beside the picture."""
    images = EvaluationBatches([sample], size, 1, max(model.strides))[0].images.float() / 255
    levels = [level.float().cpu() for level in model.with_auxiliary(images.to(model.device))]
    count = len(model.strides)
    heads = {"lead": levels[:count]} | ({"auxiliary": levels[count:]} if levels[count:] else {})
    target = picture.with_name(f"{picture.stem}-objectness.png")
    save_objectness(images[0], heads, model.strides, target)
    return target


def _files(images: Sequence[str | Path]) -> list[Path]:
    """Return the image files of files and folders. Raises UsageError."""
    found: list[Path] = []
    for path in map(Path, images):
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if p.suffix.lower() in _IMAGES)
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} doesn't exist: give image files, or folders of them.")
    if not found:
        raise UsageError(f"There is no image in {', '.join(map(str, images))}.")
    return found
