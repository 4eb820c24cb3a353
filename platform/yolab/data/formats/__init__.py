"""Data sets as people have them, in the layouts of other tools, written as this lab reads them: a folder in COCO
layout."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from yolab.data.formats import coco, cvat, labelme, voc, yolo
from yolab.data.formats.annotated import Annotated, repeated
from yolab.data.formats.source_files import SourceFiles
from yolab.data.formats.written import Progress, write
from yolab.data.new_folder import new_folder
from yolab.errors import UsageError


class Format(NamedTuple):
    """How a layout is recognised and read; `shows` says by what a person recognises it."""

    looks_so: Callable[[Path, SourceFiles], bool]
    read: Callable[[Path, SourceFiles], Annotated]
    shows: str


FORMATS = {  # the first that looks so is taken
    "yolo": Format(yolo.is_yolo, yolo.read, "a data.yaml, an obj.data or a classes.txt"),
    "voc": Format(voc.is_voc, voc.read, "an XML file for each image"),
    "cvat": Format(cvat.is_cvat, cvat.read, "an annotations.xml"),
    "labelme": Format(labelme.is_labelme, labelme.read, "a JSON file for each image"),
    "coco": Format(coco.is_coco, coco.read, "a JSON file for each split"),
}


@dataclass(frozen=True)
class Imported:
    """What was written: images and objects of each split, the classes; `notes` say what was left out, or read in a way
    that should be known."""

    splits: dict[str, tuple[int, int]]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def import_data(source: Path, target: Path, layout: str | None = None, progress: Progress | None = None) -> Imported:
    """Write the data set in `source` as a folder in COCO layout; images become hard links where the disk allows it.

    `layout` is one of FORMATS, None: what it looks like. Raises UsageError, and leaves nothing behind, if the target is
    there already or the source can't be read.
    """
    if not source.is_dir():
        raise UsageError(f"There is no folder {source}: give the data set's folder, unpacked.")
    source = source.absolute()
    files = SourceFiles(source)
    layout = layout or _recognised(source, files)
    annotated = FORMATS[layout].read(source, files)
    _check(annotated, source, layout)
    _note_pictures(annotated, files)
    with new_folder(target) as incoming:
        counts = write(annotated, source, incoming, progress)
    return Imported(counts, tuple(annotated.names), tuple(annotated.notes))


def _recognised(source: Path, files: SourceFiles) -> str:
    for name, layout in FORMATS.items():
        if layout.looks_so(source, files):
            return name
    known = ", ".join(f"{name} has {layout.shows}" for name, layout in FORMATS.items())
    raise UsageError(f"Can't tell the layout of {source}: {known}. Say which with --format.")


def _check(annotated: Annotated, source: Path, layout: str) -> None:
    """Raise UsageError if there is no image or no class, or a class or, in its split, a picture is there twice."""
    annotated.note(
        "Splits left out, as they have no image", [s for s, pictures in annotated.splits.items() if not pictures]
    )
    annotated.splits = {split: pictures for split, pictures in annotated.splits.items() if pictures}
    told = f" {' '.join(annotated.notes)}" if annotated.notes else ""
    if not annotated.splits:
        raise UsageError(f"{source} has no image in {layout} layout: check the folder, or give --format.{told}")
    if not annotated.names:
        raise UsageError(f"{source} has no object in {layout} layout: check the folder, or give --format.{told}")
    if twice := next(repeated(annotated.names), None):
        raise UsageError(f"Two classes of {source} are called {twice!r}: rename one of them, or make them one.")
    for split, pictures in annotated.splits.items():
        if twice := next(repeated(str(picture.path) for picture in pictures), None):
            raise UsageError(f"{twice} is described twice in the split {split}: leave one of the descriptions there.")


def _note_pictures(annotated: Annotated, files: SourceFiles) -> None:
    pictures = [picture for split in annotated.splits.values() for picture in split]
    used = {picture.path for picture in pictures}
    annotated.note("Images left out, as no split has them", [path for path in files.pictures if path not in used])
    turned = [picture.path for picture in pictures if picture.turned]
    annotated.note("Photographs written upright, as EXIF turns them", turned)
    unsure = [picture.path for picture in pictures if picture.unsure and not picture.turned]
    annotated.note("Photographs that EXIF turns, taken as they are stored", unsure)
