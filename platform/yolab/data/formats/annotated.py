"""What every layout is read into: pictures with their objects, by split, and what was left out on the way."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from yolab.errors import UsageError

SPLITS = {  # as experiments name them
    "train": "train2017",
    "val": "val2017",
    "valid": "val2017",
    "validation": "val2017",
    "test": "test2017",
}
_ORIENTATION = 0x0112  # EXIF: 1 is upright, 5 to 8 lie on a side
Box = tuple[float, float, float, float]  # x, y, width, height in pixels


class Object(NamedTuple):
    name: str
    box: Box
    crowd: bool = False
    segmentation: Any = ()  # polygons, each x y x y … in pixels, or whatever else COCO has
    area: float | None = None  # as annotated; None: of the polygons, or of the box


@dataclass
class Picture:
    """An image file and its objects, which refer to it as it is stored, or, if it is `turned`, as EXIF turns it; which
    of the two is `unsure` if EXIF turns it and no size tells."""

    path: Path
    width: int
    height: int
    turned: bool = False
    unsure: bool = False
    objects: list[Object] = field(default_factory=list)


@dataclass
class Annotated:
    """A data set that was read: its classes in order, its pictures by split; `notes` say what was left out or read in a
    way that should be known, each in a sentence."""

    names: list[str] = field(default_factory=list)
    splits: dict[str, list[Picture]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, what: str, cases: Iterable[object]) -> None:
        """Count what there is any of: `what`, the number, and the first as an example."""
        cases = list(cases)
        if cases:
            self.notes.append(f"{what}: {len(cases)} ({'' if len(cases) == 1 else 'such as '}{cases[0]}).")

    def found_names(self) -> list[str]:
        """Return the classes that objects have, sorted, for a layout that doesn't list them."""
        return sorted({found.name for pictures in self.splits.values() for each in pictures for found in each.objects})


def opened(path: Path, described: tuple[int, int] | None = None, as_stored: bool = False) -> Picture:
    """Return a picture without objects, its size read from the file's header.

    A photograph that EXIF turns is `turned` if its size is `described` (width, height) so; if that doesn't tell, unless
    `as_stored`. Raises UsageError if the file is no image.
    """
    try:
        with Image.open(path) as image:
            stored, orientation = image.size, image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises whatever a broken header makes it stumble over
        raise UsageError(f"Can't read the image {path}: repair it, or take it out of the data set.") from None
    upright = stored[::-1] if orientation in (5, 6, 7, 8) else stored
    turns = orientation in range(2, 9)
    tells = stored != upright and described in (stored, upright)
    turned = turns and (described == upright if tells else not as_stored)
    return Picture(path, *(upright if turned else stored), turned, unsure=turns and not tells)


def around(polygon: Sequence[float]) -> Box:
    """Return the box around x y x y …"""
    left, top = min(polygon[::2]), min(polygon[1::2])
    return left, top, max(polygon[::2]) - left, max(polygon[1::2]) - top


def area_of(found: Object) -> float:
    """Return the area in pixels as annotated, of the polygons, or of the box."""
    if found.area is not None:
        return found.area
    polygons = found.segmentation if isinstance(found.segmentation, list | tuple) else ()
    area = sum(_area_within(polygon) for polygon in polygons)
    return area or found.box[2] * found.box[3]


def _area_within(polygon: Sequence[float]) -> float:
    points = list(zip(polygon[::2], polygon[1::2]))
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(points, points[1:] + points[:1]))) / 2


def repeated(values: Iterable[str]) -> Iterator[str]:
    """Yield the values that were there before."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            yield value
        seen.add(value)


def finite(*values: Any) -> list[float]:
    """Return numbers, or texts of numbers, as such. Raises ValueError if one is none, or beyond all images."""
    numbers = [float(value) for value in values if not isinstance(value, bool)]
    if len(numbers) < len(values) or not all(abs(number) < 1e9 for number in numbers):  # false for NaN, too
        raise ValueError(f"{values} are not all finite numbers")
    return numbers


def whole_size(width: Any, height: Any) -> tuple[int, int] | None:
    """Return the width and height of an image that a file states; None if it states none, or 0."""
    try:
        sides = finite(width, height)
    except (TypeError, ValueError):
        return None
    return (int(sides[0]), int(sides[1])) if all(sides) else None


def text_of(path: Path) -> str:
    """Return the text of a file, without the byte order mark that some editors put first. Raises UsageError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"Can't read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8: save it as that, or take it out.") from None


def lines_of(path: Path) -> list[str]:
    return [line.strip() for line in text_of(path).splitlines() if line.strip()]
