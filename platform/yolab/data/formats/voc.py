"""Pascal VOC's layout: an XML file for each image, in Annotations beside JPEGImages, or with its image in a folder for
each split, as Roboflow writes it."""

import os
from pathlib import Path
from xml.etree import ElementTree

from yolab.data.formats.annotated import SPLITS, Annotated, Object, finite, lines_of, opened, whole_size
from yolab.data.formats.source_files import Label, SourceFiles, match
from yolab.data.formats.xml_file import parsed, root_tag
from yolab.data.images import ENDINGS
from yolab.errors import UsageError

_TAG = "annotation"
_IMAGE_FOLDERS = ("JPEGImages", "images")


def is_voc(source: Path, files: SourceFiles) -> bool:
    return (source / "Annotations").is_dir() or any(root_tag(path) == _TAG for path in files.ending(".xml"))


def read(source: Path, files: SourceFiles) -> Annotated:
    """Read the data set. The lists ImageSets/Main/<split>.txt say what belongs to which split, else the folders train,
    val, valid and test, else all is `train`. Corners are counted from 1, and `difficult` objects are crowds: they cost
    nothing, found or not. Raises UsageError."""
    annotated = Annotated()
    splits = _splits(source, files, annotated)
    roots = {file: parsed(file, _TAG) for paths in splits.values() for file in paths}
    pictures = dict(zip(roots, match([_label(source, file, root) for file, root in roots.items()], files.pictures)))
    strange = []
    for split, paths in splits.items():
        annotated.splits[split] = []
        for file in paths:
            if path := pictures[file]:
                size = whole_size(roots[file].findtext("size/width"), roots[file].findtext("size/height"))
                picture = opened(path, size)
                picture.objects += [_object(element, file) for element in roots[file].iter("object")]
                annotated.splits[split].append(picture)
                if size not in (None, (picture.width, picture.height)):
                    strange.append(file)
    annotated.names = annotated.found_names()
    annotated.note(
        "Labels left out, as their image is not there", [file for file, path in pictures.items() if not path]
    )
    annotated.note("Labels that give another size than their image has, check them", strange)
    return annotated


def _splits(source: Path, files: SourceFiles, annotated: Annotated) -> dict[str, list[Path]]:
    """Return the annotation files of each split."""
    there = files.ending(".xml")
    lists = {path.stem: path for path in files.ending(".txt") if path.parent == source / "ImageSets" / "Main"}
    entries = {name: lines_of(path) for name, path in lists.items() if name in SPLITS}
    if "trainval" in lists and "train" not in lists:
        elsewhere = {entry for listed in entries.values() for entry in listed}
        lists["train"] = lists.pop("trainval")
        annotated.notes.append(f"{lists['train'].name} is taken as train.")
        entries["train"] = [entry for entry in lines_of(lists["train"]) if entry not in elsewhere]
    annotated.note(
        "Lists left out, as they name no split", [path for name, path in lists.items() if name not in SPLITS]
    )
    splits: dict[str, list[Path]] = {}
    for path in there if not entries else ():
        folders = path.relative_to(source).parts[:-1]
        split = next((SPLITS[folder] for folder in folders if folder in SPLITS), SPLITS["train"])
        splits.setdefault(split, []).append(path)
    for name, listed in entries.items():
        found = match([_entry(source, lists[name], entry) for entry in listed], there)
        missing = [entry for entry, path in zip(listed, found) if path is None]
        annotated.note(f"Entries of {lists[name].name} left out, as their annotation is not there", missing)
        splits.setdefault(SPLITS[name], []).extend(path for path in dict.fromkeys(found) if path)
    used = {path for paths in splits.values() for path in paths}
    annotated.note("Labels left out, as no list of a split has them", [path for path in there if path not in used])
    return splits


def _entry(source: Path, file: Path, entry: str) -> Label:
    """Return what an entry of a list says of its annotation; some tools write the image's ending, too."""
    stem, ending = os.path.splitext(entry)
    names = (f"{entry}.*", f"{stem}.*") if ending.lower() in ENDINGS else (f"{entry}.*",)
    return Label(file, names, (source / "Annotations", source), own=(source,))


def _label(source: Path, file: Path, root: ElementTree.Element) -> Label:
    """Return what an annotation says of its image, which is called as the file is; what it states as its name may be
    from before that was changed, but tells a.jpg from a.png."""
    stated = (root.findtext("filename") or "").strip()
    names = (f"{file.stem}{os.path.splitext(stated)[1]}", f"{file.stem}.*", *([stated] if stated else []))
    parts = file.parent.parts
    beside = [
        Path(*parts[:number], folder, *parts[number + 1 :])
        for number in reversed(range(len(parts)))
        if parts[number].lower() == "annotations"
        for folder in _IMAGE_FOLDERS
    ]
    return Label(file, names, (*beside, file.parent), own=(source,))


def _object(element: ElementTree.Element, file: Path) -> Object:
    name = (element.findtext("name") or "").strip()
    try:
        left, top, right, bottom = finite(*(element.findtext(f"bndbox/{n}") for n in ("xmin", "ymin", "xmax", "ymax")))
    except (TypeError, ValueError):
        raise UsageError(f"{file} has an object {name!r} whose bndbox is not four numbers: repair it.") from None
    if not name:
        raise UsageError(f"{file} has an object without a name: repair it.")
    difficult = (element.findtext("difficult") or "").strip() == "1"
    # counted from 1, and right minus left is the width: so Darknet and Ultralytics read it, and most tools write it
    return Object(name, (left - 1, top - 1, right - left, bottom - top), difficult)
