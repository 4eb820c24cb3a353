"""Reading a data set in COCO layout: `<root>/annotations/instances_<split>.json`, images in `<root>/<split>/`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from yolab.data import outlines
from yolab.data.annotations import Checked
from yolab.data.columns import Texts, bounds, integers
from yolab.data.images import ImageFolder, decode
from yolab.data.samples import Sample, Samples, Truth
from yolab.data.split_files import SplitFiles
from yolab.data.verify import check, report
from yolab.errors import UsageError
from yolab.experiment import listed

ADVICE = "Repair the data, or leave out what is faulty with data.on_error=skip."


@dataclass(frozen=True)
class Dataset:
    """One split, its paths absolute. The order of the JSON doesn't matter: samples are sorted by image id, the objects
    in them by annotation id, so that equal content (see `digest`) is equal work."""

    root: Path
    split: str
    samples: Samples
    category_ids: tuple[int, ...]  # class index -> COCO id; ascending, not necessarily 1..n
    names: tuple[str, ...]
    truth: Truth  # the sound annotations, ascending by id
    skipped: dict[str, int]  # kind of fault -> count of what was left out; empty if on_error is "fail"

    def moved(self, to: Mapping[Path, Path]) -> "Dataset":
        """Return it with its files in other folders, `to` which those of its data sets have moved."""
        return replace(self, root=to[self.root], samples=self.samples.moved(to))

    def ground_truth(self) -> dict[str, Any]:
        """Return what was read as a COCO data set, for evaluation."""
        sizes = zip(self.samples.image_ids.tolist(), *self.samples.sizes.T.tolist())
        images = [{"id": image_id, "width": width, "height": height} for image_id, width, height in sizes]
        categories = [{"id": number, "name": name} for number, name in zip(self.category_ids, self.names)]
        return {"images": images, "annotations": list(self.truth), "categories": categories}

    def labels_of(self, known: Sequence[str], what: str) -> np.ndarray:
        """Return (known,), for each class that a model, `what`, knows, its number in here by its name, -1 for those
        that aren't in here. Raises UsageError unless the model knows all that are, by names of their own."""
        if tuple(known) == self.names:
            return np.arange(len(known))
        strange = [name for name in self.names if name not in known]
        if strange or len(set(known)) < len(known):
            raise UsageError(
                f"{what} knows the classes {listed(known)}, but {self.root} has {listed(strange or self.names)}: use "
                "data with the classes that it was trained on, or rename what is called otherwise (old=new)."
            )
        return np.array([self.names.index(name) if name in self.names else -1 for name in known])


def load(root: Path, split: str, on_error: Literal["fail", "skip"] = "fail", with_outlines: bool = False) -> Dataset:
    """Read one split, the objects' polygons too if they are wanted.

    "fail" refuses faulty annotations and missing or empty images without decoding any, which `verify` does once at the
    start of a run. "skip" leaves out what a full verification finds: a faulty annotation, or a faulty image with its
    annotations. It decodes every image unless the result is remembered.

    Raises UsageError if the data set, the split or its folder isn't there, if its JSON can't be read, if nothing is
    left, or, with "fail", if there is any fault.
    """
    files = SplitFiles(root, split)
    files.require()
    if on_error == "skip":
        (checked,) = check([files])
    else:
        checked = files.checked
        if checked.findings:
            raise UsageError(f"{report(files.root, [checked]).summary()}\n{ADVICE}")
    return dataset_of(files, checked, with_outlines)


def dataset_of(files: SplitFiles, checked: Checked, with_outlines: bool) -> Dataset:
    """Return a split without what was found to be faulty. Raises UsageError if nothing is left."""
    faulty = {(finding.about, finding.place) for finding in checked.findings}

    def sound(about: str) -> list[dict[str, Any]]:
        kept = (record for place, record in enumerate(files.content[about]) if (about, place) not in faulty)
        return sorted(kept, key=itemgetter("id"))

    categories, images = sound("categories"), sound("images")
    if not categories or not images:
        lacking = "images" if categories else "categories"
        raise UsageError(f"{files.annotations} describes no sound {lacking}: there is nothing to work on.")
    there = {image["id"] for image in images}
    annotations = [annotation for annotation in sound("annotations") if annotation["image_id"] in there]
    truth = Truth.of(annotations)
    return Dataset(
        root=files.root,
        split=files.split,
        samples=_samples(files.images, images, categories, annotations, truth, with_outlines),
        category_ids=tuple(category["id"] for category in categories),
        names=tuple(category["name"] for category in categories),
        truth=truth,
        skipped=dict(Counter(finding.kind for finding in checked.findings)),
    )


def _samples(
    folder: ImageFolder,
    images: Sequence[dict[str, Any]],
    categories: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
    truth: Truth,
    with_outlines: bool,
) -> Samples:
    """Return images with the annotations of each, all three ascending by id."""
    image_ids = integers([image["id"] for image in images])
    sizes = np.array([[image["width"], image["height"]] for image in images], np.int64)
    image_of = np.searchsorted(image_ids, truth.image_ids)
    objects = np.flatnonzero(truth.crowds == 0)
    objects = objects[np.argsort(image_of[objects], kind="stable")]
    image_of = image_of[objects]
    boxes = truth.boxes[objects]
    boxes[:, 2:] += boxes[:, :2]
    boxes = boxes.clip(0, np.tile(sizes[image_of], 2)).astype(np.float32)
    category_ids = integers([category["id"] for category in categories])
    polygons = [annotations[number].get("segmentation") for number in objects.tolist()] if with_outlines else []
    return Samples(
        (folder,),
        np.zeros(len(images), np.int64),
        Texts.of(image["file_name"] for image in images),
        image_ids,
        sizes,
        bounds(np.bincount(image_of, minlength=len(images))),
        boxes,
        np.searchsorted(category_ids, truth.category_ids[objects]).astype(np.int64),
        outlines.read(polygons, boxes) if with_outlines else None,
    )


def unlabelled(paths: Iterable[Path]) -> tuple[list[Sample], dict[Path, str]]:
    """Return image files without annotations as samples, upright, numbered from 0, and why others can't be read."""
    samples: list[Sample] = []
    unreadable: dict[Path, str] = {}
    folders: dict[Path, ImageFolder] = {}
    for path in paths:
        folder = folders.setdefault(path.parent, ImageFolder(path.parent, upright=True))
        try:
            image = decode(folder.read(path.name), upright=True)
        except OSError as error:
            unreadable[path] = f"it can't be read ({error.strerror})"
            continue
        if image is None:
            unreadable[path] = "it is not an image that can be decoded"
            continue
        height, width = image.shape[:2]
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        samples.append(Sample(folder, path.name, len(samples), width, height, *nothing))
    return samples, unreadable
