"""YOLO's layout, as Ultralytics, Darknet, CVAT, Label Studio and Roboflow write it: names and splits in a YAML file, an
obj.data, or no splits and a classes.txt; a text file for each image with a line for each object."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolab.data.formats.annotated import SPLITS, Annotated, Object, Picture, finite, lines_of, opened, text_of
from yolab.data.formats.source_files import Label, SourceFiles, match
from yolab.errors import UsageError
from yolab.experiment import yaml_file

_BEYOND = 0.01  # of a side: rounding; more than that are pixels, or another image's
_CLASSES = "classes.txt"
_CVAT = "data/"  # with which CVAT begins the paths in its lists, wherever they are
_NOTHING = (None, "", "~", "null")  # as YAML writes it


@dataclass(frozen=True)
class _Description:
    """What the data set says of itself: the names by class number, the places of each split as written, the folders
    that these are meant from, and how many numbers the keypoints of an object have."""

    file: Path
    names: dict[int, str]
    places: dict[str, list[str]]
    bases: tuple[Path, ...]
    keypoints: int = 0


def is_yolo(source: Path, files: SourceFiles) -> bool:
    return bool(_yaml_files(source, files)) or any(
        path.exists() for path in (source / "obj.data", source / _CLASSES, source / "labels")
    )


def read(source: Path, files: SourceFiles) -> Annotated:
    """Read the data set: of each object its class, and centre x, centre y, width, height, or a polygon, relative to the
    image; what follows if `kpt_shape` tells of keypoints is left out. Raises UsageError."""
    described = _described(source, files)
    annotated = Annotated([described.names[number] for number in sorted(described.names)])
    place_of = _places(described, annotated)
    roots = [_root(place) for places in place_of.values() for place in places if not _below(place, source)]
    files = SourceFiles(source, *roots) if roots else files
    lists = {place for places in place_of.values() for place in places if place.is_file()}
    pictures = {
        split: list(
            dict.fromkeys(path for place in places for path in _pictures_at(place, described, files, annotated))
        )
        for split, places in place_of.items()
    }
    label_of, unused = _labels(files, lists, {path for paths in pictures.values() for path in paths})
    for split, paths in pictures.items():
        annotated.splits[split] = [opened(path) for path in paths]
        for picture in annotated.splits[split]:
            if picture.path in label_of:
                picture.objects += _objects(label_of[picture.path], picture, described)
    annotated.note("Labels left out, as their image is in no split", unused)
    without = [path for paths in pictures.values() for path in paths if path not in label_of]
    annotated.note("Images without a label file, taken as empty", without)
    if described.keypoints:
        annotated.notes.append(f"Keypoints are left out, boxes are kept: {described.file.name} has kpt_shape.")
    return annotated


def _yaml_files(source: Path, files: SourceFiles) -> list[Path]:
    there = [path for path in files.ending(".yaml", ".yml") if path.parent == source]
    return [path for path in there if re.search(r"""^["']?names""", text_of(path), re.MULTILINE)]


def _described(source: Path, files: SourceFiles) -> _Description:
    if found := _yaml_files(source, files):
        if len(found) > 1:
            told = ", ".join(path.name for path in found)
            raise UsageError(
                f"{source} must hold one YAML file with names and splits, and has {told}: leave one there."
            )
        return _from_yaml(source, found[0])
    if (source / "obj.data").is_file():
        return _from_obj_data(source, source / "obj.data")
    if (source / _CLASSES).is_file():
        names = dict(enumerate(lines_of(source / _CLASSES)))
        return _Description(source / _CLASSES, names, {"train": ["."]}, (source,))
    raise UsageError(f"{source} has no YAML file, obj.data or {_CLASSES} that names the classes of a YOLO data set.")


def _from_yaml(source: Path, file: Path) -> _Description:
    """Read the YAML file with every value as the text that stands there: a class may be called no, or 7."""
    content = yaml_file.read_texts(file)
    given = content.get("names")
    numbered = given if isinstance(given, dict) else dict(enumerate(given if isinstance(given, list) else ()))
    try:
        names = {int(number): name for number, name in numbered.items()}
        keypoints = [int(number) for number in content.get("kpt_shape") or []]
    except (TypeError, ValueError):
        raise UsageError(f"{file} must list the classes as names, by whole numbers, and kpt_shape as two.") from None
    if not names or not all(isinstance(name, str) and name for name in names.values()) or min(names) < 0:
        raise UsageError(f"{file} must list the classes as names.")
    places = {}
    for split in SPLITS:
        listed = content.get(split)
        listed = listed if isinstance(listed, list) else [listed]
        places[split] = [place for place in listed if place not in _NOTHING]
        if not all(isinstance(place, str) for place in places[split]):
            raise UsageError(f"{file} must give `{split}` as a folder, a file that lists images, or a list of these.")
    path = content.get("path")
    if path not in _NOTHING and not isinstance(path, str):
        raise UsageError(f"{file} must give `path` as a folder.")
    base = source if path in _NOTHING else source / path
    return _Description(file, names, places, (base, source), keypoints[0] * keypoints[1] if keypoints[1:] else 0)


def _from_obj_data(source: Path, file: Path) -> _Description:
    """Read Darknet's file, as CVAT writes it: its paths are meant from a folder above, whatever that is called."""
    entries = (line.partition("=") for line in lines_of(file))
    content = {key.strip(): value.strip() for key, _, value in entries}
    names = source / Path(content.get("names", "")).name
    if not names.is_file():
        raise UsageError(f"{file} must say with `names` in which file here the classes are listed.")
    places = {split: [os.path.basename(content[split])] for split in SPLITS if content.get(split)}
    return _Description(file, dict(enumerate(lines_of(names))), places, (source,))


def _places(described: _Description, annotated: Annotated) -> dict[str, list[Path]]:
    """Return where the images of each split are: folders, or files that list them."""
    found: dict[str, list[Path]] = {}
    missing = []
    for split, places in described.places.items():
        for place in places:
            path = _place(place, described.bases)
            if path is None:
                missing.append(f"{split}: {place}")
            else:
                found.setdefault(SPLITS[split], []).append(path)
    if not found:
        told = missing[0] if missing else "it names none"
        raise UsageError(
            f"There is no split where {described.file} says ({told}): correct `path`, or the splits in it."
        )
    annotated.note(f"Splits that {described.file.name} names and that are not there", missing)
    return found


def _place(place: str, bases: Sequence[Path]) -> Path | None:
    """Return where a split is; the paths in such files are often meant from another folder than they say."""
    tried = [os.path.join(base, place.replace("\\", "/")) for base in bases]
    tried.append(os.path.join(bases[-1], place.replace("\\", "/").removeprefix("../")))
    return next((Path(os.path.abspath(path)) for path in tried if os.path.exists(path)), None)


def _below(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder)


def _root(place: Path) -> Path:
    """Return the folder that holds the images at a place and, with `labels` in place of `images`, their labels."""
    folder = place if place.is_dir() else place.parent
    return next((above.parent for above in (folder, *folder.parents) if above.name == "images"), folder)


def _pictures_at(place: Path, described: _Description, files: SourceFiles, annotated: Annotated) -> list[Path]:
    if place.is_dir():
        return [path for path in files.pictures if _below(path, place)]
    bases = (place.parent, *described.bases)
    listed = [Label(place, (line, line.removeprefix(_CVAT)), bases, own=bases) for line in lines_of(place)]
    found = match(listed, files.pictures)
    missing = [label.names[0] for label, path in zip(listed, found) if path is None]
    annotated.note(f"Images left out, which {place.name} lists and which are not there", missing)
    return [path for path in found if path is not None]


def _labels(files: SourceFiles, lists: set[Path], wanted: set[Path]) -> tuple[dict[Path, Path], list[Path]]:
    """Return the label file of each wanted picture that has one, and the label files that are left.

    A label is called as its picture is, and lies in the folder `labels` beside `images`, or with its picture.
    """
    with_pictures = {path.parent for path in files.pictures}
    labels = []
    for file in files.ending(".txt"):
        if file not in lists and file.name != _CLASSES and ("labels" in file.parts or file.parent in with_pictures):
            places = (*_mirrored(file.parent), file.parent)
            labels.append(Label(file, (f"{file.stem}.*",), places, own=(file.parent, *file.parents)))
    found = match(labels, files.pictures)
    label_of: dict[Path, Path] = {}
    for beside in (False, True):  # labels in a folder of their own come first
        for label, picture in zip(labels, found):
            if picture in wanted and picture is not None and (picture.parent == label.file.parent) is beside:
                label_of.setdefault(picture, label.file)
    used = set(label_of.values())
    return label_of, [label.file for label in labels if label.file not in used]


def _mirrored(folder: Path) -> list[Path]:
    """Return the folder with `images` in place of each `labels` in its path, the last first."""
    parts = folder.parts
    places = [number for number, part in enumerate(parts) if part == "labels"]
    return [Path(*parts[:number], "images", *parts[number + 1 :]) for number in reversed(places)]


def _objects(file: Path, picture: Picture, described: _Description) -> list[Object]:
    objects = []
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        if line.strip():
            try:
                objects.append(_object(line.split(), picture, described))
            except ValueError as error:
                raise UsageError(f"{file}, line {number}, {line[:80]!r}: {error}.") from None
    return objects


def _object(fields: Sequence[str], picture: Picture, described: _Description) -> Object:
    """Return the object of a line. Raises ValueError, which says what is wrong."""
    try:
        label, *values = finite(*fields)
    except ValueError:
        raise ValueError("an object is a line of finite numbers: class, centre x, centre y, width, height") from None
    name = described.names.get(int(label)) if label == int(label) else None
    if name is None:
        raise ValueError(f"there is no class {fields[0]}, the data set has {len(described.names)}")
    if not all(-_BEYOND <= value <= 1 + _BEYOND for value in values):
        raise ValueError("numbers beyond 1 or below 0 are no shares of the image, but perhaps pixels")
    if described.keypoints and len(values) == 4 + described.keypoints:
        values = values[:4]
    sides = picture.width, picture.height
    if len(values) == 4:
        return Object(name, _within(values, *sides))
    if described.keypoints or len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers after the class are neither a box (4) nor a polygon (6, 8, …)")
    polygon = [value * sides[n % 2] for n, value in enumerate(values)]
    left, top, right, bottom = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    box = _within(((left + right) / 2, (top + bottom) / 2, right - left, bottom - top), *sides)
    return Object(name, box, segmentation=[polygon])


def _within(values: Sequence[float], image_width: int, image_height: int) -> Any:
    """Return x, y, width, height in pixels, cut to the image, of centre and size."""
    x, y, width, height = values
    left, top = max(0.0, x - width / 2) * image_width, max(0.0, y - height / 2) * image_height
    right, bottom = min(1.0, x + width / 2) * image_width, min(1.0, y + height / 2) * image_height
    return left, top, right - left, bottom - top
