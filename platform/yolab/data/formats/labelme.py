"""LabelMe's layout: a JSON file of shapes for each image, beside it."""

import json
from pathlib import Path
from typing import Any

from yolab.data.formats.annotated import SPLITS, Annotated, Object, around, finite, opened, whole_size
from yolab.data.formats.source_files import Label, SourceFiles, match
from yolab.errors import UsageError

_HEAD_BYTES = 1 << 16  # in which a file shows what it is


def is_labelme(source: Path, files: SourceFiles) -> bool:
    return any(_is_shapes(file) for file in files.ending(".json"))


def read(source: Path, files: SourceFiles) -> Annotated:
    """Read the data set. A split is a folder train, val, valid or test; all is `train` without. Rectangles, polygons
    and circles are objects; lines and points have no box, and are left out. Raises UsageError."""
    annotated = Annotated()
    contents = {file: _content(file) for file in files.ending(".json") if _is_shapes(file)}
    labels = [
        Label(file, (str(content.get("imagePath")), f"{file.stem}.*"), (file.parent,), own=(source,))
        for file, content in contents.items()
    ]
    missing: list[Path] = []
    shapeless: list[str] = []
    for (file, content), path in zip(contents.items(), match(labels, files.pictures)):
        if path is None:
            missing.append(file)
            continue
        picture = opened(path, whole_size(content.get("imageWidth"), content.get("imageHeight")))
        for place, shape in enumerate(content["shapes"], start=1):
            if found := _object(shape, file, place):
                picture.objects.append(found)
            else:
                shapeless.append(f"shape {place} of {file}")
        folders = file.relative_to(source).parts[:-1]
        split = next((SPLITS[folder] for folder in folders if folder in SPLITS), SPLITS["train"])
        annotated.splits.setdefault(split, []).append(picture)
    annotated.names = annotated.found_names()
    annotated.note("Labels left out, as their image is not there", missing)
    annotated.note("Shapes left out, which have no box", shapeless)
    return annotated


def _is_shapes(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return b'"shapes"' in content.read(_HEAD_BYTES)
    except OSError:  # told by who reads it
        return False


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"Can't read {file} as JSON ({error}): repair it, or take it out.") from None
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise UsageError(f"{file} is no LabelMe annotation, it lacks the list shapes: take it out.")
    return content


def _object(shape: dict[str, Any], file: Path, place: int) -> Object | None:
    """Return the object of a shape, None if it has no area."""
    kind = shape.get("shape_type") or "polygon"
    if kind not in ("rectangle", "polygon", "circle"):
        return None
    try:
        points = [finite(*point) for point in shape["points"]]
        if not all(len(point) == 2 for point in points) or not len(points) >= (3 if kind == "polygon" else 2):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{file}: shape {place} is a {kind} whose points are not as such: repair it.") from None
    name = shape.get("label")
    if not isinstance(name, str) or not name:
        raise UsageError(f"{file}: shape {place} needs a text as label: repair it.")
    if kind == "circle":
        (x, y), (u, v) = points[:2]
        radius = ((u - x) ** 2 + (v - y) ** 2) ** 0.5
        return Object(name, (x - radius, y - radius, 2 * radius, 2 * radius))
    outline = [value for point in points for value in point]
    return Object(name, around(outline), segmentation=[outline] if kind == "polygon" else ())
