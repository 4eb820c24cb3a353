"""COCO's layout: JSON files of detections anywhere in the folder, as COCO itself, Roboflow, CVAT and Label Studio write
them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolab.data.formats.annotated import SPLITS, Annotated, Object, Picture, finite, opened, repeated
from yolab.data.formats.source_files import Label, SourceFiles, match
from yolab.errors import UsageError

_OBJECTS, _KEYPOINTS = "instances_", "person_keypoints_"  # what COCO's own files are called before the split
_LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class _Detections:
    """A file of detections; `split` as it calls it; its classes by id."""

    file: Path
    split: str
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    names: dict[str, str]
    supercategories: dict[str, Any]  # by name


def is_coco(source: Path, files: SourceFiles) -> bool:
    return bool(files.ending(".json"))


def read(source: Path, files: SourceFiles) -> Annotated:
    """Read the data set: all its classes in the order of their ids, and what several files say of one split together.

    File names are meant from the split's folder, images/<split> or the JSON's own; ids may be texts. Raises UsageError.
    """
    annotated = Annotated()
    found = _detections(source, files, annotated)
    labels = [label for each in found for label in _labels(each, source, files)]
    paths = iter(match(labels, files.pictures))
    missing: list[str] = []
    outlines: list[str] = []
    for each in found:
        pictures = {_key(image["id"]): _picture(each, image, next(paths)) for image in each.images}
        missing += [f"{image['file_name']} of {each.file}" for image in each.images if not pictures[_key(image["id"])]]
        for annotation in each.annotations:
            name, picture = _belongs(annotation, each, pictures)
            if picture:
                picture.objects.append(_object(annotation, name, each))
                if annotation.get("segmentation") and not picture.objects[-1].segmentation:
                    outlines.append(f"of annotation {annotation.get('id')} in {each.file}")
        split = annotated.splits.setdefault(_named(each.split), [])
        split += [picture for picture in pictures.values() if picture]
    annotated.names = _names(found, annotated)
    annotated.note("Images left out, which are described and not there", missing)
    annotated.note("Outlines left out, which are no polygons; their boxes are kept", outlines)
    return annotated


def _detections(source: Path, files: SourceFiles, annotated: Annotated) -> list[_Detections]:
    """Return the files of detections; the others, such as captions, are named."""
    contents = {file: _content(file) for file in files.ending(".json")}
    objects = {file.stem for file in contents if file.stem.startswith(_OBJECTS)}
    doubled = {file for file in contents if file.stem.replace(_KEYPOINTS, _OBJECTS) in objects - {file.stem}}
    other = [file for file, content in contents.items() if content is None or file in doubled]
    annotated.note("JSON files left out, which are not the objects of a split", other)
    found = [
        _checked(file, _split(source, file), content)
        for file, content in contents.items()
        if content is not None and file not in doubled
    ]
    if not found:
        raise UsageError(
            f"{source} has no JSON file with COCO's lists {', '.join(_LISTS)} and boxes: check the folder."
        )
    return found


def _content(file: Path) -> dict[str, list[Any]] | None:
    """Return what a JSON file says; None if these are no detections."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"Can't read {file} as JSON ({error}): repair it, or take it out.") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in _LISTS):
        return None
    annotations = content["annotations"]
    boxed = not annotations or any(isinstance(each, dict) and "bbox" in each for each in annotations)
    return {name: content[name] for name in _LISTS} if boxed else None


def _split(source: Path, file: Path) -> str:
    """Return what a file's split is called: instances_val2017.json, val.json, or valid/_annotations.coco.json."""
    name = file.stem.removeprefix(_OBJECTS).removeprefix(_KEYPOINTS)
    if name.startswith("_annotations"):
        return "train" if file.parent == source else file.parent.name
    return "train" if name == "annotations" else name  # a folder of another meaning


def _named(split: str) -> str:
    """Return a split's name as experiments have it."""
    return SPLITS.get(split, split)


def _checked(file: Path, split: str, content: dict[str, list[Any]]) -> _Detections:
    """Raise UsageError where a record lacks what makes it one, or two have the same id or name."""
    for about, needed in (
        ("images", ("id", "file_name")),
        ("annotations", ("image_id",)),
        ("categories", ("id", "name")),
    ):
        for place, record in enumerate(content[about], start=1):
            if not isinstance(record, dict) or not all(
                isinstance(record.get(key), str | int | float) for key in needed
            ):
                raise UsageError(f"{file}: entry {place} of {about} needs {' and '.join(needed)}: repair it.")
    categories = sorted(content["categories"], key=lambda category: _rank(category["id"]))
    for what, values in (
        ("image id", [_key(image["id"]) for image in content["images"]]),
        ("category id", [_key(category["id"]) for category in categories]),
        ("category", [str(category["name"]) for category in categories]),
    ):
        if twice := next(repeated(values), None):
            raise UsageError(f"{file} has the {what} {twice!r} twice: rename one of them, or make them one.")
    names = {_key(category["id"]): str(category["name"]) for category in categories}
    above = {str(category["name"]): category.get("supercategory") for category in categories}
    return _Detections(file, split, content["images"], content["annotations"], names, above)


def _key(identity: Any) -> str:
    """Return an id as text: 1, 1.0 and "1" are the same."""
    return str(int(identity)) if isinstance(identity, float) and identity.is_integer() else str(identity)


def _rank(identity: Any) -> tuple[bool, int, str]:
    key = _key(identity)
    number = key.isascii() and key.isdigit()
    return not number, int(key) if number else 0, key


def _labels(found: _Detections, source: Path, files: SourceFiles) -> list[Label]:
    folder = found.file.parent
    known = {*SPLITS, *SPLITS.values()}
    called = {found.split, *(name for name in known if _named(name) == _named(found.split))}
    own, others = (
        [above / name for name in sorted(names) for above in (folder, source, source / "images")]
        for names in (called, known - called)
    )
    if folder != source:  # where the file lies among its pictures, nothing is nearer
        own = [folder, *own] if folder.name in called else [*own, folder]
    own = [place for place in dict.fromkeys(own) if os.fspath(place) in files.picture_folders]
    inside = [place / "images" for place in own]
    return [
        Label(
            found.file,
            (name,),
            (*own, *inside, *((folder, source) if not own or _has_folder(name) else ())),
            tuple(own),
            tuple(others),
        )
        for name in (str(image["file_name"]) for image in found.images)
    ]


def _has_folder(name: str) -> bool:
    return "/" in name or "\\" in name


def _picture(found: _Detections, image: dict[str, Any], path: Path | None) -> Picture | None:
    """Open the picture of an entry; its size is that in the entry, where there is one: verification compares it."""
    if path is None:
        return None
    if image.get("width") is None or image.get("height") is None:
        return opened(path, as_stored=True)
    try:
        width, height = (int(side) for side in finite(image["width"], image["height"]))
    except (TypeError, ValueError):
        raise UsageError(f"{found.file}: image {image['id']} needs numbers as width and height, or neither.") from None
    picture = opened(path, (width, height), as_stored=True)
    picture.width, picture.height = width, height
    return picture


def _belongs(
    annotation: dict[str, Any], found: _Detections, pictures: dict[str, Picture | None]
) -> tuple[str, Picture | None]:
    """Return the class of an annotation, and its picture, None if that is left out."""
    called = f"{found.file}: annotation {annotation.get('id')}"
    image, category = _key(annotation["image_id"]), _key(annotation.get("category_id"))
    if image not in pictures:
        raise UsageError(f"{called} belongs to image {image}, which isn't there: take it out, or describe the image.")
    if category not in found.names:
        raise UsageError(f"{called} is of category {category}, which isn't there: take it out, or add the category.")
    return found.names[category], pictures[image]


def _object(annotation: dict[str, Any], name: str, found: _Detections) -> Object:
    called = f"{found.file}: annotation {annotation.get('id')}"
    try:
        x, y, width, height = finite(*annotation["bbox"])
        area = annotation.get("area")
        area = None if area is None else finite(area)[0]
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{called} needs four finite numbers as bbox, and one as area or none: repair it.") from None
    if annotation.get("iscrowd") not in (None, 0, 1):
        raise UsageError(f"{called} needs 0 or 1 as iscrowd: repair it.")
    return Object(name, (x, y, width, height), bool(annotation.get("iscrowd")), _outline(annotation), area)


def _outline(annotation: dict[str, Any]) -> Any:
    """Return polygons, or a mask, which stays as it is; nothing if it is neither."""
    outline = annotation.get("segmentation")
    if isinstance(outline, dict):
        return outline
    try:
        return [finite(*polygon) for polygon in outline or ()]
    except (TypeError, ValueError):
        return ()


def _names(found: list[_Detections], annotated: Annotated) -> list[str]:
    """Return all classes, but for those that only group others, as Roboflow's first does, and have no object."""
    supercategories = {name: above for each in found for name, above in each.supercategories.items()}
    used = set(annotated.found_names())
    groups = {above for name, above in supercategories.items() if above != name and isinstance(above, str)}
    left_out = [name for name in supercategories if name in groups - used]
    annotated.note("Classes left out, which group others and have no object", left_out)
    return [name for name in supercategories if name not in left_out]
