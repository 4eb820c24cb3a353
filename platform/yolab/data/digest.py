"""The identity of a data set by its content: equal digests are equal images with equal annotations."""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from yolab.data.images import ImageFolder
from yolab.data.split_files import SplitFiles

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
REMEMBERED_AS = "digest-2"  # count up when the digest covers something else


def content_digest(dataset_root: Path, splits: Sequence[str]) -> str:
    """Return 32 hex digits over the splits, in the order given (training and validation aren't interchangeable).

    Covered: of each image its bytes and its size; of each object category, box, polygons, area (evaluation sorts by it)
    and crowd mark; the categories. Not covered: names of files, folders and splits, whether images are packed, the
    order within the JSON, and the ids of images and annotations beyond the order that they give. Remembered until a
    file changes.

    Raises UsageError if the data set or a split isn't there or its JSON can't be read.
    """
    return digest_of([SplitFiles(dataset_root, split) for split in splits])


def digest_of(splits: Sequence[SplitFiles]) -> str:
    """Return the digest of a data set's splits, as `content_digest` does."""
    return hashlib.sha256("".join(_split_digest(split) for split in splits).encode()).hexdigest()[:32]


def _split_digest(split: SplitFiles) -> str:
    remembered = split.remembered(REMEMBERED_AS)
    known = remembered.recall()
    if isinstance(known, str):
        return known
    content = {name: sorted(records, key=_rank) for name, records in split.content.items()}
    objects: dict[str, list[Any]] = {}
    for annotation in content["annotations"]:
        objects.setdefault(str(_field(annotation, "image_id")), []).append(_object(annotation))

    whole = hashlib.sha256(_canonical([[_field(c, "id"), _field(c, "name")] for c in content["categories"]]))
    names = [str(_field(image, "file_name")) for image in content["images"]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        unread = [name for name in names if name not in split.file_digests]
        known = split.file_digests | dict(zip(unread, pool.map(lambda name: _file_digest(split.images, name), unread)))
    for image, name in zip(content["images"], names):
        size = [_field(image, "width"), _field(image, "height")]
        whole.update(_canonical([known[name], size, objects.pop(str(_field(image, "id")), [])]))
    whole.update(_canonical(sorted(objects.items())))  # objects of no image: a fault, but of this content
    remembered.keep(whole.hexdigest())
    return whole.hexdigest()


def _object(annotation: Any) -> list[Any]:
    box, area = _field(annotation, "bbox"), _field(annotation, "area")
    if isinstance(box, list):
        box = _numbers(box)
    if area is None and isinstance(box, list) and len(box) == 4 and all(isinstance(side, float) for side in box):
        area = box[2] * box[3]
    described = [_field(annotation, "category_id"), box, _number(area), int(bool(_field(annotation, "iscrowd")))]
    polygons = _field(annotation, "segmentation")
    if polygons and isinstance(polygons, list):
        described.append([_numbers(p) if isinstance(p, list) else p for p in polygons])
    return described


def _numbers(values: list[Any]) -> list[Any]:
    if {int, float}.issuperset(map(type, values)):
        with contextlib.suppress(OverflowError):
            return list(map(float, values))
    return [_number(value) for value in values]


def _number(value: Any) -> Any:
    """Make 12 and 12.0 the same; what is no number, or beyond a float's range, stays what it is."""
    try:
        return float(value) if isinstance(value, int) else value
    except OverflowError:
        return value


def _field(record: Any, key: str) -> Any:
    return record.get(key) if isinstance(record, dict) else None


def _rank(record: Any) -> tuple[float, str]:
    """Order by id; faulty records without a usable one come last, by what they say."""
    identity = _field(record, "id")
    return (identity, "") if isinstance(identity, int) else (math.inf, json.dumps(record, sort_keys=True))


def _canonical(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()


def _file_digest(images: ImageFolder, name: str) -> str:
    try:
        return hashlib.sha256(images.read(name).data).hexdigest()
    except (OSError, ValueError):
        return "missing"
