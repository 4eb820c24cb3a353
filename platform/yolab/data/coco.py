"""Reading a data set in COCO layout: `<root>/annotations/instances_<split>.json`, images in `<root>/<split>/`."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from yolab.data import outlines
from yolab.data.annotations import annotations_file, check_annotations, read_annotations
from yolab.data.images import ImageFolder, decode
from yolab.data.outlines import Outlines
from yolab.data.verify import check, report
from yolab.errors import UsageError


@dataclass(frozen=True)
class Sample:
    """One image and its objects, those marked as crowds left out."""

    images: ImageFolder
    file_name: str
    image_id: int
    width: int
    height: int
    boxes: np.ndarray  # (objects, 4) float32, x1 y1 x2 y2 in pixels, within the image
    classes: np.ndarray  # (objects,) int64, 0..classes-1
    outlines: Outlines | None = None  # the polygons of those that have any, in pixels; only read to learn from

    @property
    def path(self) -> Path:
        """Where the file is, or was before it was packed."""
        return self.images.folder / self.file_name


@dataclass(frozen=True)
class Dataset:
    """One split, its paths absolute. The order of the JSON doesn't matter: samples are sorted by image id, the objects
    in them by annotation id, so that equal content (see `digest`) is equal work."""

    root: Path
    split: str
    annotations: Path
    samples: tuple[Sample, ...]
    category_ids: tuple[int, ...]  # class index -> COCO id; ascending, not necessarily 1..n
    names: tuple[str, ...]
    truth: tuple[dict[str, Any], ...]  # the sound annotations as the JSON has them, crowds too: what evaluation needs
    skipped: dict[str, int]  # kind of fault -> count of what was left out; empty if on_error is "fail"

    def ground_truth(self) -> dict[str, Any]:
        """Return what was read as a COCO data set, for evaluation."""
        images = [{"id": s.image_id, "width": s.width, "height": s.height} for s in self.samples]
        categories = [{"id": number, "name": name} for number, name in zip(self.category_ids, self.names)]
        return {"images": images, "annotations": list(self.truth), "categories": categories}

    def require_names(self, known: Sequence[str], what: str) -> None:
        """Raise UsageError unless the classes are those that a model, `what`, knows, in the same order."""
        if tuple(known) != self.names:
            raise UsageError(
                f"{what} knows the classes {', '.join(known)}, but {self.root} has {', '.join(self.names)}: "
                "use data with the classes that it was trained on."
            )


def load(root: Path, split: str, on_error: Literal["fail", "skip"] = "fail", with_outlines: bool = False) -> Dataset:
    """Read one split, the objects' polygons too if they are wanted.

    "fail" refuses faulty annotations and missing or empty images without decoding any, which `verify` does once at the
    start of a run. "skip" leaves out what a full verification finds: a faulty annotation, or a faulty image with its
    annotations. It decodes every image unless the result is remembered.

    Raises UsageError if the data set, the split or its folder isn't there, if its JSON can't be read, if nothing is
    left, or, with "fail", if there is any fault.
    """
    root = Path(os.path.abspath(root))  # workers change directory
    content = read_annotations(root, split)
    if not (root / split).is_dir():
        raise UsageError(f"{root} has annotations of the split {split!r} but no images: put them into {root / split}.")
    if on_error == "skip":
        (checked,) = check(root, [split])
    else:
        checked = check_annotations(root, split, content)
        if checked.findings:
            advice = "Repair the data, or leave out what is faulty with data.on_error=skip."
            raise UsageError(f"{report(root, [checked]).summary()}\n{advice}")

    faulty = {(finding.about, finding.place) for finding in checked.findings}

    def sound(about: str) -> list[dict[str, Any]]:
        kept = (record for place, record in enumerate(content[about]) if (about, place) not in faulty)
        return sorted(kept, key=lambda record: record["id"])

    categories, images = sound("categories"), sound("images")
    if not categories or not images:
        lacking = "images" if categories else "categories"
        raise UsageError(f"{annotations_file(root, split)} describes no sound {lacking}: there is nothing to work on.")
    class_of = {category["id"]: index for index, category in enumerate(categories)}
    objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    annotations = [annotation for annotation in sound("annotations") if annotation["image_id"] in objects]
    for annotation in annotations:
        if not annotation.get("iscrowd"):
            objects[annotation["image_id"]].append(annotation)
    folder = ImageFolder(root / split)
    return Dataset(
        root=root,
        split=split,
        annotations=annotations_file(root, split),
        samples=tuple(_sample(folder, image, objects[image["id"]], class_of, with_outlines) for image in images),
        category_ids=tuple(class_of),
        names=tuple(category["name"] for category in categories),
        truth=tuple(_scorable(annotation) for annotation in annotations),
        skipped=dict(Counter(finding.kind for finding in checked.findings)),
    )


def _scorable(annotation: dict[str, Any]) -> dict[str, Any]:
    """Return what scoring needs of an annotation, with the box's area where the data set doesn't state one."""
    width, height = annotation["bbox"][2:]
    defaults = {"area": width * height, "iscrowd": 0}
    needed = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
    return {key: annotation.get(key, defaults.get(key)) for key in needed}


def _sample(
    folder: ImageFolder,
    image: dict[str, Any],
    objects: Sequence[dict[str, Any]],
    class_of: dict[int, int],
    with_outlines: bool,
) -> Sample:
    width, height = image["width"], image["height"]
    boxes = np.array([annotation["bbox"] for annotation in objects], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes = boxes.clip(0, [width, height, width, height]).astype(np.float32)
    classes = np.array([class_of[annotation["category_id"]] for annotation in objects], np.int64)
    polygons = outlines.read([o.get("segmentation") for o in objects], boxes) if with_outlines else None
    return Sample(folder, image["file_name"], image["id"], width, height, boxes, classes, polygons)


def unlabelled(paths: Iterable[Path]) -> list[Sample]:
    """Return image files without annotations as samples, numbered from 0. Raises UsageError if one is no image."""
    samples = []
    folders: dict[Path, ImageFolder] = {}
    for number, path in enumerate(paths):
        folder = folders.setdefault(path.parent, ImageFolder(path.parent))
        try:
            image = decode(folder.read(path.name))
        except OSError as error:
            raise UsageError(f"{path} can't be read ({error.strerror}): leave it out.") from None
        if image is None:
            raise UsageError(f"{path} is not an image that can be decoded: leave it out, or give JPEG or PNG files.")
        height, width = image.shape[:2]
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        samples.append(Sample(folder, path.name, number, width, height, *nothing))
    return samples
