"""Writing what was read of another layout as a folder in COCO layout."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from yolab.data.formats.annotated import Annotated, Picture, area_of
from yolab.data.new_folder import link
from yolab.errors import UsageError

_QUALITY = 95  # of a photograph that is written anew
Progress = Callable[[int, int], None]


def write(annotated: Annotated, source: Path, folder: Path, progress: Progress | None) -> dict[str, tuple[int, int]]:
    """Write a data set into an empty folder; return how many images and objects each split has. `progress` is called
    with (done, total) images."""
    (folder / "annotations").mkdir()
    total, done, counts = sum(map(len, annotated.splits.values())), 0, {}
    number_of = {name: number for number, name in enumerate(annotated.names, start=1)}
    categories = [{"id": number, "name": name} for name, number in number_of.items()]
    for split, pictures in annotated.splits.items():
        (folder / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        taken: set[str] = set()
        for image_id, picture in enumerate(pictures, start=1):
            file_name = _unused(picture.path, source, taken)
            _put(picture, folder / split / file_name)
            about = {"id": image_id, "file_name": file_name, "width": picture.width, "height": picture.height}
            images.append(about)
            for found in picture.objects:
                identity = {"id": len(annotations) + 1, "image_id": image_id, "category_id": number_of[found.name]}
                where = {"bbox": found.box, "area": area_of(found), "iscrowd": int(found.crowd)}
                outline = {"segmentation": found.segmentation} if found.segmentation else {}
                annotations.append({**identity, **where, **outline})
            done += 1
            if progress:
                progress(done, total)
        content = json.dumps({"images": images, "annotations": annotations, "categories": categories})
        (folder / "annotations" / f"instances_{split}.json").write_text(content)
        counts[split] = len(images), len(annotations)
    return counts


def _unused(path: Path, source: Path, taken: set[str]) -> str:
    """Return the file's name, with its folders' in front if another image of the split is called the same, on a disk
    that tells neither capitals nor the composition of accents apart."""
    below = path.relative_to(source).parts if path.is_relative_to(source) else path.parts[1:]
    for first in range(len(below) - 1, -1, -1):
        name = "-".join(below[first:])
        plain = unicodedata.normalize("NFC", name).casefold()
        if plain not in taken:
            taken.add(plain)
            return name
    raise UsageError(f"Two images of one split are called {name}: rename one of them ({path}).")


def _put(picture: Picture, target: Path) -> None:
    if picture.turned:
        _write_upright(picture.path, target)
        return
    link(picture.path, target)


def _write_upright(path: Path, target: Path) -> None:
    try:
        with Image.open(path) as image:
            ImageOps.exif_transpose(image).save(target, quality=_QUALITY)
    except Exception:  # Pillow raises whatever a broken image makes it stumble over
        raise UsageError(f"Can't turn {path} upright as EXIF says: repair it, or take it out.") from None
