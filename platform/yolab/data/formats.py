"""Data sets as people have them, in YOLO's, Pascal VOC's or COCO's layout, written as this lab reads them: a folder in
COCO layout."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from PIL import Image, UnidentifiedImageError

from yolab.data.new_folder import new_folder
from yolab.errors import UsageError
from yolab.experiment import yaml_file

FORMATS = ("yolo", "voc", "coco")
_IMAGES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_NAMED = {"train": "train2017", "val": "val2017", "valid": "val2017", "test": "test2017"}  # as experiments name them
Progress = Callable[[int, int], None]


class _Object(NamedTuple):
    name: str
    box: tuple[float, float, float, float]  # x, y, width, height in pixels
    crowd: bool = False
    polygons: Sequence[Sequence[float]] = ()  # x y x y … in pixels


@dataclass
class _Annotated:
    """An image and its objects."""

    path: Path
    width: int
    height: int
    objects: list[_Object] = field(default_factory=list)


@dataclass(frozen=True)
class Imported:
    """What was written: images and objects of each split, the classes."""

    splits: dict[str, tuple[int, int]]
    names: tuple[str, ...]


def import_data(source: Path, target: Path, layout: str | None = None, progress: Progress | None = None) -> Imported:
    """Write the data set in `source` as a folder in COCO layout; images become hard links where the disk allows it.

    `layout` is one of FORMATS, None: what it looks like. Raises UsageError, and leaves nothing behind, if the target is
    there already or the source can't be read.
    """
    if not source.is_dir():
        raise UsageError(f"There is no folder {source}: give the data set's folder.")
    layout = layout or _recognised(source)
    names, splits = {"yolo": _yolo, "voc": _voc, "coco": _coco}[layout](source)
    if not splits or not any(splits.values()):
        raise UsageError(f"{source} has no image in {layout.upper()} layout: check the folder, or give --format.")
    with new_folder(target) as incoming:
        return _write(incoming, names, splits, progress)


def _recognised(source: Path) -> str:
    if list(source.glob("*.y*ml")) or (source / "labels").is_dir():
        return "yolo"
    if (source / "Annotations").is_dir():
        return "voc"
    if list(source.rglob("*.json")):
        return "coco"
    raise UsageError(
        f"Can't tell the layout of {source}: YOLO has a data.yaml, VOC a folder Annotations, COCO a JSON file. "
        "Say which with --format."
    )


def _write(
    folder: Path, names: Sequence[str], splits: dict[str, list[_Annotated]], progress: Progress | None
) -> Imported:
    (folder / "annotations").mkdir()
    total, done, counts = sum(map(len, splits.values())), 0, {}
    number_of = {name: number for number, name in enumerate(names, start=1)}
    for split, images in splits.items():
        (folder / split).mkdir()
        described: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
        taken: set[str] = set()
        for image_id, image in enumerate(images, start=1):
            file_name = _unused(image.path, taken)
            _link(image.path, folder / split / file_name)
            about = {"id": image_id, "file_name": file_name, "width": image.width, "height": image.height}
            described["images"].append(about)
            for name, box, crowd, polygons in image.objects:
                identity = {"id": len(described["annotations"]) + 1, "image_id": image_id}
                where = {"bbox": box, "area": box[2] * box[3], "iscrowd": int(crowd)}
                outline = {"segmentation": polygons} if polygons else {}
                described["annotations"].append({**identity, "category_id": number_of[name], **where, **outline})
            done += 1
            if progress:
                progress(done, total)
        categories = [{"id": number, "name": name} for name, number in number_of.items()]
        content = json.dumps({**described, "categories": categories})
        (folder / "annotations" / f"instances_{split}.json").write_text(content)
        counts[split] = len(images), len(described["annotations"])
    return Imported(counts, tuple(names))


def _unused(path: Path, taken: set[str]) -> str:
    """Return the file's name, with its folder's in front if another image of the split is called the same."""
    name = path.name if path.name not in taken else f"{path.parent.name}-{path.name}"
    if name in taken:
        raise UsageError(f"Two images of one split are called {name}: rename one of them ({path}).")
    taken.add(name)
    return name


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _opened(path: Path) -> _Annotated:
    """Return an image without objects, its size read from the file's header."""
    try:
        with Image.open(path) as image:
            return _Annotated(path, *image.size)
    except (OSError, UnidentifiedImageError):
        raise UsageError(f"Can't read the image {path}: repair it, or take it out of the data set.") from None


def _yolo(source: Path) -> tuple[list[str], dict[str, list[_Annotated]]]:
    """Read YOLO's layout: a YAML file with names and splits; `labels` beside `images`, in it a text file for each image
    with a line for each object: class, centre x, centre y, width, height, or a polygon, relative to the image."""
    files = sorted(source.glob("*.y*ml"))
    if len(files) != 1:
        raise UsageError(f"{source} must hold one YAML file with the names and splits of a YOLO data set.")
    described = yaml_file.read(files[0])
    names = described.get("names")
    if isinstance(names, dict):
        names = [names[number] for number in sorted(names)]
    if not isinstance(names, list) or not names:
        raise UsageError(f"{files[0]} must list the classes as names.")
    names = [str(name) for name in names]
    base = source / str(described.get("path") or "")
    splits = {}
    for split in ("train", "val", "valid", "test"):
        places = described.get(split)
        if places:
            places = places if isinstance(places, list) else [places]
            paths = [path for place in places for path in _yolo_images(_place(str(place), (base, source)))]
            splits[_NAMED[split]] = [_yolo_image(path, names) for path in paths]
    return names, splits


def _place(place: str, bases: Sequence[Path]) -> Path:
    """Return where a split is; the paths in such files are often meant from another folder than they say."""
    tried = [base / place for base in bases] + [bases[-1] / place.removeprefix("../")]
    for path in tried:
        if path.exists():
            return path
    raise UsageError(f"There is no {tried[0]}, where the YAML file says a split is: correct `path` or the split in it.")


def _yolo_images(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(path for path in place.rglob("*") if path.suffix.lower() in _IMAGES)
        return
    for line in place.read_text().splitlines():
        if line.strip():
            yield place.parent / line.strip()


def _yolo_image(path: Path, names: Sequence[str]) -> _Annotated:
    image = _opened(path)
    parts = list(path.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    labels = Path(*parts).with_suffix(".txt")
    lines = labels.read_text().splitlines() if labels.exists() else []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                label, *values = (float(value) for value in line.split())
                name = names[int(label)]
                left, top, right, bottom = _yolo_box(values)
            except (ValueError, IndexError):
                raise UsageError(
                    f"{labels}, line {number} is no object of a YOLO data set with {len(names)} classes: {line[:80]!r}."
                ) from None
            x, y = left * image.width, top * image.height
            box = x, y, right * image.width - x, bottom * image.height - y
            polygon = [value * (image.height if n % 2 else image.width) for n, value in enumerate(values)]
            image.objects.append(_Object(name, box, polygons=[polygon] if len(values) > 4 else ()))
    return image


def _yolo_box(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of centre and size, or of a polygon."""
    if len(values) == 4:
        x, y, width, height = values
        return max(0.0, x - width / 2), max(0.0, y - height / 2), min(1.0, x + width / 2), min(1.0, y + height / 2)
    if len(values) < 6 or len(values) % 2:
        raise ValueError
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _voc(source: Path) -> tuple[list[str], dict[str, list[_Annotated]]]:
    """Read Pascal VOC's layout: Annotations/*.xml, JPEGImages, ImageSets/Main/<split>.txt (all is `train` without);
    corners are counted from 1, and `difficult` objects are crowds: they cost nothing, found or not."""
    lists = {path.stem: path.read_text().split() for path in sorted((source / "ImageSets" / "Main").glob("*.txt"))}
    wanted = {split: stems for split, stems in lists.items() if split in _NAMED}
    if not wanted:
        wanted = {"train": sorted(path.stem for path in (source / "Annotations").glob("*.xml"))}
    splits = {_NAMED[split]: [_voc_image(source, stem) for stem in stems] for split, stems in wanted.items()}
    names = sorted({name for images in splits.values() for image in images for name, *_ in image.objects})
    return names, splits


def _voc_image(source: Path, stem: str) -> _Annotated:
    file = source / "Annotations" / f"{stem}.xml"
    try:
        root = ElementTree.parse(file).getroot()
        found = [path for path in (source / "JPEGImages").glob(f"{stem}.*") if path.suffix.lower() in _IMAGES]
        if not found:
            raise UsageError(f"There is no image {stem} in {source / 'JPEGImages'}, which {file.name} describes.")
        image = _opened(found[0])
        for described in root.iter("object"):
            corners = described.find("bndbox")
            assert corners is not None
            left, top, right, bottom = (float(corners.findtext(n, "")) for n in ("xmin", "ymin", "xmax", "ymax"))
            difficult = described.findtext("difficult", "0").strip() == "1"
            box = left - 1, top - 1, right - left + 1, bottom - top + 1
            image.objects.append(_Object(described.findtext("name", "").strip(), box, difficult))
    except (OSError, ElementTree.ParseError, ValueError, AssertionError):
        raise UsageError(f"Can't read {file} as a Pascal VOC annotation: repair it, or take it out.") from None
    return image


def _coco(source: Path) -> tuple[list[str], dict[str, list[_Annotated]]]:
    """Read COCO files that lie anywhere in the folder, the images somewhere in it by their names, as Roboflow and
    labelling tools export them."""
    images = {path.name: path for path in sorted(source.rglob("*")) if path.suffix.lower() in _IMAGES}
    splits: dict[str, list[_Annotated]] = {}
    names: dict[str, None] = {}
    for file in sorted(source.rglob("*.json")):
        try:
            content = json.loads(file.read_bytes())
            name_of = {category["id"]: str(category["name"]) for category in content["categories"]}
            by_id = {}
            for described in content["images"]:
                own = file.parent / described["file_name"]
                path = own if own.exists() else images.get(Path(described["file_name"]).name)
                if path is None:
                    raise UsageError(f"There is no image {described['file_name']} in {source}, which {file} describes.")
                by_id[described["id"]] = _Annotated(path, described["width"], described["height"])
            for a in content["annotations"]:
                x, y, width, height = map(float, a["bbox"])
                polygons = a.get("segmentation")
                outline = polygons if isinstance(polygons, list) else ()  # crowds have a mask
                found = _Object(name_of[a["category_id"]], (x, y, width, height), bool(a.get("iscrowd", 0)), outline)
                by_id[a["image_id"]].objects.append(found)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"Can't read {file} as COCO annotations ({error!r}).") from None
        used = {name for image in by_id.values() for name, *_ in image.objects}
        names.update(dict.fromkeys(name for name in name_of.values() if name in used))
        splits[_coco_split(source, file)] = list(by_id.values())
    return list(names), splits


def _coco_split(source: Path, file: Path) -> str:
    """Return what a file's split is called: instances_val2017.json, val.json, or valid/_annotations.coco.json."""
    own = file.stem.removeprefix("instances_")
    name = file.parent.name if own.startswith("_annotations") and file.parent != source else own
    return _NAMED.get(name, name)
