"""The annotations of a split, `annotations/instances_<split>.json`: reading them, and what is wrong with their records.

The kinds of fault that show without decoding an image: malformed_category, duplicate_category_id,
duplicate_category_name; malformed_image, duplicate_image_id, leaves_folder, missing_image, undecodable_image (an empty
file); malformed_annotation, duplicate_annotation_id, unknown_image, unknown_category, malformed_box, empty_box,
box_outside. A record counts once, with the first that applies.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from yolab.errors import UsageError

# COCO's boxes overhang by fractions of a pixel (rounding), those converted from Pascal VOC by up to a whole one (it
# counts from 1); loading clips them. More than that is a box of another image or of another size of this one.
OVERHANG_PX = 1.0
SIDE_LIMIT_PX = 2**20  # OpenCV decodes no longer side


class Finding(NamedTuple):
    """A record at fault: its list in the JSON, its place there, the kind of fault, a sentence."""

    about: Literal["categories", "images", "annotations"]
    place: int  # counted from 0
    kind: str
    case: str


@dataclass(frozen=True)
class Checked:
    """What was found in one split; images and annotations are counted as described in the JSON."""

    images: int
    annotations: int
    findings: tuple[Finding, ...]


def annotations_file(root: Path, split: str) -> Path:
    """Return where the annotations of a split are, or the description of its images alone, as COCO has it of the
    splits that its test server scores."""
    images_alone = root / "annotations" / f"image_info_{split}.json"
    annotated = root / "annotations" / f"instances_{split}.json"
    return images_alone if images_alone.exists() and not annotated.exists() else annotated


def split_names(root: Path) -> list[str]:
    """Return the names of the splits that have annotations, or a description of their images alone, and a folder of
    images; if none has that, those that have annotations. Raises UsageError if there are none."""
    described, annotated = _described(root)
    there = {name for name in described | annotated if (root / name).is_dir()}
    if not there | annotated:
        raise UsageError(f"{root} has no annotations/instances_<split>.json: give a folder in COCO layout.")
    return sorted(there or annotated)


def without_images(root: Path) -> list[str]:
    """Return the names of the splits that have annotations, but no folder of images as others have."""
    return sorted(_described(root)[1] - set(split_names(root)))


def _described(root: Path) -> tuple[set[str], set[str]]:
    """Return the names of the splits whose images are described alone, and of those that have annotations."""
    if not root.is_dir():
        raise UsageError(f"There is no data set at {root}, no such folder: check the path, or make one (yolab data).")
    files = [path.stem for path in root.glob("annotations/*.json")]
    images_alone, annotated = (
        {name.removeprefix(prefix) for name in files if name.startswith(prefix)}
        for prefix in ("image_info_", "instances_")
    )
    return images_alone, annotated


def read_annotations(root: Path, split: str) -> dict[str, list[Any]]:
    """Return the JSON of a split, with its lists `images`, `annotations` and `categories`.

    Raises UsageError if it is not there or not such JSON.
    """
    path, there = annotations_file(root, split), split_names(root)
    if split not in there and not path.exists():
        raise UsageError(f"{root} has no split {split!r} ({path.name} is missing): choose one of {', '.join(there)}.")
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"Can't read {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON ({error}): write or copy it anew.") from None
    if isinstance(content, dict) and path.name.startswith("image_info_"):
        content = {"annotations": [], **content}
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in lists):
        raise UsageError(f"{path} must hold a mapping with the lists {', '.join(lists)}, as COCO's instances files do.")
    return {name: content[name] for name in lists}


def check_annotations(split: str, content: dict[str, list[Any]], bytes_of: Callable[[str], int]) -> Checked:
    """Return what is found without decoding: all faults of the annotations, images that are missing or empty.

    `bytes_of` tells the size of an image's file by its name, or raises as `ImageFolder.size` does.
    """
    sizes: dict[int, tuple[int, int]] = {}
    categories: dict[int, str] = {}
    seen: set[int] = set()
    found = [
        *_findings(split, "categories", content, lambda record: _category_fault(record, categories)),
        *_findings(split, "images", content, lambda record: _image_fault(record, split, bytes_of, sizes)),
        *_findings(split, "annotations", content, lambda record: _annotation_fault(record, sizes, categories, seen)),
    ]
    return Checked(len(content["images"]), len(content["annotations"]), tuple(found))


_Fault = tuple[str, str] | None  # kind and what is wrong in words, of one record
_CALLED = {"categories": "category", "images": "image", "annotations": "annotation"}


def _findings(
    split: str,
    about: Literal["categories", "images", "annotations"],
    content: dict[str, list[Any]],
    fault_of: Callable[[Any], _Fault],
) -> Iterator[Finding]:
    files = {_value(image, "id", int): _value(image, "file_name", str) for image in content["images"]}
    files.pop(None, None)
    for place, record in enumerate(content[about]):
        if fault := fault_of(record):
            identity = _value(record, "id", int)
            called = f"{_CALLED[about]} {place + 1} of the list" if identity is None else f"{_CALLED[about]} {identity}"
            file = _value(record, "file_name", str) or files.get(_value(record, "image_id", int))
            yield Finding(about, place, fault[0], f"{split}: {called}{f' ({file!r})' if file else ''} {fault[1]}")


def _value(record: Any, key: str, kind: type) -> Any | None:
    value = record.get(key) if isinstance(record, dict) else None
    return value if type(value) is kind else None


def _category_fault(record: Any, categories: dict[int, str]) -> _Fault:
    identity, name = _value(record, "id", int), _value(record, "name", str)
    if identity is None or name is None:
        return "malformed_category", "needs a whole number as id and a text as name"
    if identity in categories:
        return "duplicate_category_id", "has an id that an earlier category has"
    if name in categories.values():
        return "duplicate_category_name", f"is called {name!r}, as an earlier category is: rename one, or make them one"
    categories[identity] = name
    return None


def _image_fault(record: Any, split: str, bytes_of: Callable[[str], int], sizes: dict[int, tuple[int, int]]) -> _Fault:
    identity, name = _value(record, "id", int), _value(record, "file_name", str)
    width, height = _value(record, "width", int) or 0, _value(record, "height", int) or 0
    if identity is None or not name or not (0 < width <= SIDE_LIMIT_PX and 0 < height <= SIDE_LIMIT_PX):
        if identity is not None:  # one fault is told, not one more for each of its boxes
            sizes.setdefault(identity, (SIDE_LIMIT_PX, SIDE_LIMIT_PX))
        return "malformed_image", "needs whole numbers as id, width and height (in pixels) and a file_name"
    if identity in sizes:
        return "duplicate_image_id", "has an id that an earlier image has"
    sizes[identity] = width, height
    # By name only: a link that leads out of the folder was put there by the owner of the data.
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return "leaves_folder", f"names a file outside the folder {split}"
    try:
        empty = bytes_of(name) == 0
    except IsADirectoryError:
        return "undecodable_image", "is not a file"
    except (OSError, ValueError):
        return "missing_image", f"has no file in the folder {split}"
    return ("undecodable_image", "is an empty file") if empty else None


def _annotation_fault(
    record: Any, sizes: dict[int, tuple[int, int]], categories: dict[int, str], seen: set[int]
) -> _Fault:
    identity, image, category = (_value(record, key, int) for key in ("id", "image_id", "category_id"))
    if identity is None or image is None or category is None or record.get("iscrowd") not in (None, 0, 1):
        return "malformed_annotation", "needs whole numbers as id, image_id and category_id, and iscrowd 0 or 1"
    if record.get("area") is not None and not _is_number(record["area"]):
        return "malformed_annotation", f"has the area {str(record['area'])[:80]}: it must be a finite number, or none"
    if identity in seen:
        return "duplicate_annotation_id", "has an id that an earlier annotation has"
    seen.add(identity)
    if image not in sizes:
        return "unknown_image", f"belongs to image {image}, which is not (soundly) described"
    if category not in categories:
        return "unknown_category", f"is of category {category}, which is not (soundly) described"
    return _box_fault(record.get("bbox"), *sizes[image])


def _is_number(value: Any) -> bool:
    # The comparison is also false for NaN; the limit keeps numbers beyond a float's range out.
    return type(value) in (int, float) and abs(value) < 1e9


def _box_fault(box: Any, width: int, height: int) -> _Fault:
    if not isinstance(box, list) or not all(map(_is_number, box)) or len(box) != 4:
        return "malformed_box", f"has the box {str(box)[:80]}: it must be four finite numbers x, y, width, height"
    x, y, box_width, box_height = box
    if box_width <= 0 or box_height <= 0:
        return "empty_box", f"has the box {box}, which has no area"
    overhang = max(-x, -y, x + box_width - width, y + box_height - height)
    if overhang > OVERHANG_PX:
        return "box_outside", f"has the box {box}, {overhang:.4g} px beyond the image of {width}x{height}"
    if min(x + box_width, width) <= max(x, 0) or min(y + box_height, height) <= max(y, 0):
        return "empty_box", f"has the box {box}, which has no area within the image of {width}x{height}"
    return None
