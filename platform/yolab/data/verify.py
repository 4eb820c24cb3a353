"""Whether a data set in COCO layout is sound: every annotation is checked, every image is decoded.

To the kinds of fault of `annotations` decoding adds undecodable_image and image_size.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from yolab.data.annotations import (
    Checked,
    Finding,
    annotations_file,
    check_annotations,
    read_annotations,
    split_names,
)
from yolab.data.cache import Remembered
from yolab.data.images import ImageFolder, decode

CASES = 5
REMEMBERED_AS = "verify-1"  # count up when the checks change


@dataclass(frozen=True)
class Fault:
    """How often one kind of fault occurs, and the first cases in words."""

    count: int
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    root: Path
    images: int
    annotations: int
    faults: dict[str, Fault]

    @property
    def ok(self) -> bool:
        return not self.faults

    def summary(self) -> str:
        """Return one line that counts, then each kind of fault with its first cases."""
        total = sum(fault.count for fault in self.faults.values())
        found = f"{total} fault{'s' * (total != 1)}" if total else "no faults"
        lines = [f"{self.root}: {found} in {self.images} images with {self.annotations} annotations."]
        for kind, fault in self.faults.items():
            lines += [f"  {kind}: {fault.count}", *(f"    {case}" for case in fault.cases)]
            if fault.count > len(fault.cases):
                lines.append(f"    and {fault.count - len(fault.cases)} more")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self), "root": str(self.root)}


def verify(
    root: Path, splits: Sequence[str] | None = None, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Check the annotations of the splits (None: all that are there) and decode all their images.

    `progress` is called with (done, total) images. The result is remembered until a file changes.
    Raises UsageError if there is no such data set or split, or its JSON can't be read.
    """
    return report(root, check(root, splits or split_names(root), progress))


def report(root: Path, checked: Iterable[Checked]) -> Report:
    """Sum up what was found in the splits of a data set."""
    checked = list(checked)
    cases: dict[str, list[str]] = {}
    for split in checked:
        for finding in split.findings:
            cases.setdefault(finding.kind, []).append(finding.case)
    faults = {kind: Fault(len(found), tuple(found[:CASES])) for kind, found in cases.items()}
    return Report(root, sum(split.images for split in checked), sum(split.annotations for split in checked), faults)


def check(root: Path, splits: Sequence[str], progress: Callable[[int, int], None] | None = None) -> tuple[Checked, ...]:
    """Return all findings of each split, remembered ones where its files have not changed."""
    splits = list(dict.fromkeys(splits))  # one that serves for training and for validation is checked once
    remembered = {split: Remembered(REMEMBERED_AS, [annotations_file(root, split), root / split]) for split in splits}
    results: dict[str, Checked] = {}
    fresh: dict[str, tuple[Checked, list[_Image]]] = {}
    for split in splits:
        known = remembered[split].recall()
        if known is None:
            content = read_annotations(root, split)
            found = check_annotations(root, split, content)
            fresh[split] = found, _images_to_decode(root, split, content, found)
        else:
            results[split] = Checked(
                known["images"], known["annotations"], tuple(Finding(*finding) for finding in known["findings"])
            )
    total, done = sum(len(images) for _, images in fresh.values()), 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split, (found, images) in fresh.items():
            findings = list(found.findings)
            for finding in pool.map(_decode, images):
                findings += [finding] if finding else []
                done += 1
                if progress:
                    progress(done, total)
            results[split] = Checked(found.images, found.annotations, tuple(findings))
            remembered[split].keep(asdict(results[split]))
    return tuple(results[split] for split in splits)


class _Image(NamedTuple):
    split: str
    place: int
    folder: ImageFolder
    described: dict[str, Any]


def _images_to_decode(root: Path, split: str, content: dict[str, list[Any]], found: Checked) -> list[_Image]:
    faulty = {finding.place for finding in found.findings if finding.about == "images"}
    folder = ImageFolder(root / split)
    return [_Image(split, i, folder, image) for i, image in enumerate(content["images"]) if i not in faulty]


def _decode(image: _Image) -> Finding | None:
    called = f"{image.split}: image {image.described['id']} ({image.described['file_name']!r})"
    try:
        encoded = image.folder.read(image.described["file_name"])
    except OSError as error:
        return Finding("images", image.place, "undecodable_image", f"{called} can't be read: {error.strerror}")
    # Before decoding: OpenCV may fill up what is missing with grey and only print a warning.
    if breaks_off(encoded.tobytes()):
        return Finding("images", image.place, "undecodable_image", f"{called} breaks off before its end")
    pixels = decode(encoded)
    if pixels is None:
        return Finding("images", image.place, "undecodable_image", f"{called} can't be decoded")
    (height, width), described = pixels.shape[:2], image.described
    if (width, height) != (described["width"], described["height"]):
        words = f"is {width}x{height}, described as {described['width']}x{described['height']}"
        if (height, width) == (described["width"], described["height"]):
            words += " (as COCO's, images are read as they are stored, whatever EXIF says of their orientation)"
        return Finding("images", image.place, "image_size", f"{called} {words}")
    return None


def breaks_off(encoded: bytes) -> bool:
    """Return whether the bytes of a JPEG or PNG lack the mark of its end; what follows the mark doesn't matter."""
    if encoded.startswith(b"\x89PNG"):
        return b"IEND" not in encoded
    if not encoded.startswith(b"\xff\xd8"):
        return False
    position = 2  # step over the header's segments: a preview picture in there has an end of its own
    while encoded[position : position + 1] == b"\xff" and encoded[position + 1 : position + 2] != b"\xda":
        fill = encoded[position + 1 : position + 2] == b"\xff"
        position += 1 if fill else 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    return b"\xff\xd9" not in encoded[position:]
