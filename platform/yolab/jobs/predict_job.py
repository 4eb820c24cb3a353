"""Predict: detect objects in images and draw them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from yolab.data import coco
from yolab.data.coco import Sample
from yolab.data.images import ENDINGS
from yolab.data.loader import EvaluationBatches
from yolab.errors import UsageError, YolabError
from yolab.evaluation.detect import ImageDetections, detect
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher
from yolab.jobs.weights_source import open_weights
from yolab.models.detector import Detector
from yolab.models.device import named_device
from yolab.models.suppression import IOU, SHOWN_CONFIDENCE
from yolab.reports.pictures import save_detections, save_objectness
from yolab.storage import Folder, Storage, claim, storage_at


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
class UnreadableImage:
    """A file that was left out, and why."""

    image: str
    error: str


@dataclass(frozen=True)
class Predictions(Result):
    """`images` in the order in which they were given; the files that can't be read are `unreadable`."""

    images: tuple[ImagePrediction, ...]
    unreadable: tuple[UnreadableImage, ...] = ()

    @property
    def exit_code(self) -> int:
        return YolabError.exit_code if self.unreadable else 0

    def document(self) -> list[dict[str, Any]]:
        return [each.document() for each in self.images] + [asdict(each) for each in self.unreadable]

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
    overwrite: bool = False,
    device: str | None = None,
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> Predictions:
    """Detect objects in images and save pictures with the boxes drawn into the folder `output` (None: a new one in the
    storage, `predictions`).

    images: files, or folders of them; turned as EXIF says. weights: a .safetensors or .onnx file, models:/NAME@ALIAS,
    or a run by its name or SWEEP/TRIAL. confidence, iou: what `suppression.suppress` takes; None: its settings for
    boxes that are shown. size: the long side in pixels; None: as trained. objectness: also draw where each head sees
    objects. most: look at so many images of those given. overwrite: replace pictures that are there, but never an image
    that was given. device: such as cpu or cuda:1; None: the GPU, where there is one. Raises UsageError.
    """
    if objectness and str(weights).endswith(".onnx"):
        raise UsageError("--objectness looks inside the model: give the weights that the .onnx file was made of.")
    paths = _files([images] if isinstance(images, (str, Path)) else images, watcher)
    samples, unreadable = _readable(paths[:most], watcher)
    folder = Path(output) if output else _new_folder(storage_at(storage))
    pictures = _pictures(samples, folder)
    maps = [_maps_of(picture) for picture in pictures] if objectness else []
    _require_free([*pictures, *maps], paths, overwrite)
    model, spec = open_weights(weights, storage)
    image_size = size or spec.image_size
    detections = detect(
        model.to(named_device(device)),
        samples,
        image_size,
        batch=8,
        confidence=SHOWN_CONFIDENCE if confidence is None else confidence,
        iou=IOU if iou is None else iou,
        progress=lambda done, total: watcher.progress("Detecting", done, total),
    )
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for found in sorted((each.with_area() for each in detections), key=lambda found: found.image_id):
        sample, picture = samples[found.image_id], pictures[found.image_id]
        save_detections(sample, found, spec.names, picture)
        if objectness:
            assert isinstance(model, Detector)
            _draw_objectness(model, sample, image_size, _maps_of(picture))
        objects = _objects(found, spec.names)
        drawn = str(_maps_of(picture)) if objectness else None
        results.append(ImagePrediction(str(sample.path), str(picture), objects, drawn))
        watcher.note(f"{picture}: {len(objects)} objects")
    return Predictions(tuple(results), unreadable)


def _readable(paths: Sequence[Path], watcher: Watcher) -> tuple[list[Sample], tuple[UnreadableImage, ...]]:
    """Return the images that can be read, and tell of the others. Raises UsageError if there are only such."""
    samples, unreadable = coco.unlabelled(paths)
    for path, reason in unreadable.items():
        watcher.note(f"Left out {path}: {reason}.")
    if not samples:
        raise UsageError(f"None of the {len(paths)} files can be read as an image: give JPEG or PNG files.")
    return samples, tuple(UnreadableImage(str(path), reason) for path, reason in unreadable.items())


def _pictures(samples: Sequence[Sample], folder: Path) -> list[Path]:
    """Return where each image is drawn: by its name, with a number behind it where another has that already."""
    taken: set[str] = set()
    last_number: Counter[str] = Counter()
    pictures = []
    for sample in samples:
        picture = folder / f"{sample.path.stem}.png"
        while {picture.name.casefold(), _maps_of(picture).name.casefold()} & taken:
            last_number[sample.path.stem] += 1
            picture = folder / f"{sample.path.stem}-{last_number[sample.path.stem]}.png"
        taken |= {picture.name.casefold(), _maps_of(picture).name.casefold()}
        pictures.append(picture)
    return pictures


def _maps_of(picture: Path) -> Path:
    """Return where the maps of objectness are drawn, beside the picture."""
    return picture.with_name(f"{picture.stem}-objectness.png")


def _require_free(targets: Sequence[Path], images: Sequence[Path], overwrite: bool) -> None:
    """Raise UsageError if a file to be written is one of the images, or is there already and not to be replaced."""
    there = [target for target in targets if target.exists()]
    inputs = {_identity(image) for image in images}
    for target in there:
        if _identity(target) in inputs:
            raise UsageError(f"{target} is one of the images: name another folder as --output.")
    if there and not overwrite:
        raise UsageError(
            f"{there[0]} is there already, one of {len(there)} such pictures: name another folder as --output, or "
            "replace them with --overwrite."
        )


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells files from each other, whatever links lead to them."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _objects(found: ImageDetections, names: Sequence[str]) -> tuple[DetectedObject, ...]:
    rows = zip(found.classes.tolist(), found.scores.tolist(), found.boxes.tolist())
    return tuple(DetectedObject(names[label], score, tuple(box)) for label, score, box in rows)


@torch.no_grad()
def _draw_objectness(model: Detector, sample: Sample, size: int, target: Path) -> None:
    """Save the maps of the lead head, and of the auxiliary one if the graph has it."""
    images = EvaluationBatches([sample], size, 1, max(model.strides))[0].images.float() / 255
    levels = [level.float().cpu() for level in model.with_auxiliary(images.to(model.device))]
    count = len(model.strides)
    heads = {"lead": levels[:count]} | ({"auxiliary": levels[count:]} if levels[count:] else {})
    save_objectness(images[0], heads, model.strides, target)


def _new_folder(storage: Storage) -> Path:
    """Return a folder for pictures, in the storage, or here if that is no folder."""
    near = storage if isinstance(storage, Folder) else Folder(Path.cwd())
    return Path(str(claim.unused(near, "predictions")))


def _files(images: Sequence[str | Path], watcher: Watcher) -> list[Path]:
    """Return the files that are given, and the image files of the folders; tell what else is in these. Raises
    UsageError if something isn't there, or there is no file."""
    if not images:
        raise UsageError("There is no image: give a run, or --weights, and image files, or folders of them.")
    found: list[Path] = []
    for path in map(Path, images):
        if path.is_dir():
            found += _images_in(path, watcher)
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} doesn't exist: give image files, or folders of them.")
    if not found:
        raise UsageError(f"There is no image in {', '.join(map(str, images))}.")
    return found


def _images_in(folder: Path, watcher: Watcher) -> list[Path]:
    found = []
    left_out: Counter[str] = Counter()
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            left_out["hidden"] += 1
        elif path.is_dir():
            left_out["folder"] += 1
        elif path.suffix.lower() not in ENDINGS:
            left_out[path.suffix.lower() or "without ending"] += 1
        else:
            found.append(path)
    if left_out:
        counts = ", ".join(f"{count} × {kind}" for kind, count in sorted(left_out.items()))
        watcher.note(f"Not looked at in {folder}: {counts}.")
    return found
