"""CVAT's own layout, "CVAT for images 1.1": one XML file with all images and their boxes and polygons."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from yolab.data.formats.annotated import SPLITS, Annotated, Object, around, finite, opened, whole_size
from yolab.data.formats.source_files import Label, SourceFiles, match
from yolab.data.formats.xml_file import parsed, root_tag
from yolab.errors import UsageError

_TAG = "annotations"


def is_cvat(source: Path, files: SourceFiles) -> bool:
    return any(root_tag(file) == _TAG for file in files.ending(".xml"))


def read(source: Path, files: SourceFiles) -> Annotated:
    """Read the data set. Splits are the subsets of the task. Tracks of videos and shapes without an area are left out.
    Raises UsageError."""
    annotated = Annotated()
    images = [(file, element) for file in files.ending(".xml") for element in parsed(file, _TAG).iter("image")]
    tracks = [file for file in files.ending(".xml") for _ in parsed(file, _TAG).iter("track")]
    labels = [
        Label(file, (element.get("name", ""),), (file.parent / "images", file.parent), own=(source,))
        for file, element in images
    ]
    missing, shapeless, strange, unknown = [], [], [], []
    for (file, element), path in zip(images, match(labels, files.pictures)):
        called = f"{element.get('name')!r} of {file}"
        if path is None:
            missing.append(called)
            continue
        size = whole_size(element.get("width"), element.get("height"))
        picture = opened(path, size)
        strange += [called] if size not in (None, (picture.width, picture.height)) else []
        for shape in element:
            found = _object(shape, called)
            if found:
                picture.objects.append(found)
            elif shape.tag != "tag":
                shapeless.append(f"a {shape.tag} in {called}")
        subset = element.get("subset", "train")
        unknown += [f"{subset!r}"] if subset.lower() not in SPLITS else []
        annotated.splits.setdefault(SPLITS.get(subset.lower(), SPLITS["train"]), []).append(picture)
    annotated.names = list(dict.fromkeys(_listed(files))) or annotated.found_names()
    annotated.note("Subsets taken as train", dict.fromkeys(unknown))
    annotated.note("Images left out, which are described and not there", missing)
    annotated.note("Shapes left out, which have no box", shapeless)
    annotated.note("Tracks of a video left out, export its frames as COCO", tracks)
    annotated.note("Labels that give another size than their image has, check them", strange)
    return annotated


def _listed(files: SourceFiles) -> Iterator[str]:
    """Yield the classes in the order of the task."""
    for file in files.ending(".xml"):
        yield from (
            name for name in map(str.strip, map(_text, parsed(file, _TAG).iterfind("meta//label/name"))) if name
        )


def _text(element: ElementTree.Element) -> str:
    return element.text or ""


def _object(shape: ElementTree.Element, called: str) -> Object | None:
    """Return the object of a box or a polygon, None of anything else."""
    if shape.tag not in ("box", "polygon"):
        return None
    name = shape.get("label")
    try:
        if not name:
            raise ValueError
        if shape.tag == "box":
            left, top, right, bottom = finite(*(shape.get(side) for side in ("xtl", "ytl", "xbr", "ybr")))
            return Object(name, (left, top, right - left, bottom - top))
        points = [finite(*point.split(",")) for point in shape.get("points", "").split(";")]
        if len(points) < 3 or not all(len(point) == 2 for point in points):
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(
            f"A {shape.tag} in {called} has no label, or corners that are not numbers: repair it."
        ) from None
    outline = [value for point in points for value in point]
    return Object(name, around(outline), segmentation=[outline])
