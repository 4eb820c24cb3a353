"""Whether a data set in COCO layout is sound: every annotation is checked, every image is decoded.

To the kinds of fault of `annotations` decoding adds undecodable_image and image_size.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from yolab.data.annotations import Checked, Finding, annotations_file, split_names, without_images
from yolab.data.cache import Remembered
from yolab.data.images import decode
from yolab.data.split_files import SplitFiles

CASES = 5
_AT_ONCE = 32  # images that a thread decodes before it says so: each hand-over costs as much as a small one
REMEMBERED_AS = "verify-2"  # count up when the checks change


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
    unchecked: tuple[str, ...] = ()  # splits that have annotations and no images

    @property
    def ok(self) -> bool:
        return not self.faults

    def summary(self) -> str:
        """Return one line that counts, then each kind of fault with its first cases."""
        total = sum(fault.count for fault in self.faults.values())
        found = f"{total} fault{'s' * (total != 1)}" if total else "no faults"
        lines = [f"{self.root}: {found} in {self.images} images with {self.annotations} annotations."]
        for split in self.unchecked:
            lines.append(
                f"  {annotations_file(self.root, split)} was not checked: there is no folder {split} of images."
            )
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
    names = dict.fromkeys(splits or split_names(root))  # one that serves for training and validation is checked once
    found = report(root, check([SplitFiles(root, name) for name in names], progress))
    return found if splits else replace(found, unchecked=tuple(without_images(root)))


def report(root: Path, checked: Iterable[Checked]) -> Report:
    """Sum up what was found in the splits of a data set."""
    checked = list(checked)
    cases: dict[str, list[str]] = {}
    for split in checked:
        for finding in split.findings:
            cases.setdefault(finding.kind, []).append(finding.case)
    faults = {kind: Fault(len(found), tuple(found[:CASES])) for kind, found in cases.items()}
    return Report(root, sum(split.images for split in checked), sum(split.annotations for split in checked), faults)


def check(splits: Sequence[SplitFiles], progress: Callable[[int, int], None] | None = None) -> tuple[Checked, ...]:
    """Return all findings of each split, remembered ones where its files have not changed."""
    remembered = [split.remembered(REMEMBERED_AS) for split in splits]
    results = [_recalled(each) for each in remembered]
    to_decode = [[] if known else _images_to_decode(split) for split, known in zip(splits, results)]
    total, done = sum(map(len, to_decode)), 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (split, images) in enumerate(zip(splits, to_decode)):
            if results[number] is not None:
                continue
            findings = list(split.checked.findings)
            groups = [images[first : first + _AT_ONCE] for first in range(0, len(images), _AT_ONCE)]
            for faults in pool.map(_decode_all, groups):
                for finding in faults:
                    findings += [finding] if finding else []
                    done += 1
                    if progress:
                        progress(done, total)
            results[number] = found = replace(split.checked, findings=tuple(findings))
            remembered[number].keep(asdict(found))
    return tuple(result for result in results if result is not None)


def _recalled(remembered: Remembered) -> Checked | None:
    known = remembered.recall()
    if known is None:
        return None
    return Checked(known["images"], known["annotations"], tuple(Finding(*finding) for finding in known["findings"]))


class _Image(NamedTuple):
    files: SplitFiles
    place: int
    described: dict[str, Any]


def _images_to_decode(split: SplitFiles) -> list[_Image]:
    faulty = {finding.place for finding in split.checked.findings if finding.about == "images"}
    return [_Image(split, i, image) for i, image in enumerate(split.content["images"]) if i not in faulty]


def _decode_all(images: Sequence[_Image]) -> list[Finding | None]:
    return [_decode(image) for image in images]


def _decode(image: _Image) -> Finding | None:
    name = image.described["file_name"]
    called = f"{image.files.split}: image {image.described['id']} ({name!r})"
    try:
        encoded = image.files.images.read(name)
    except OSError as error:
        return Finding("images", image.place, "undecodable_image", f"{called} can't be read: {error.strerror}")
    image.files.file_digests[name] = hashlib.sha256(encoded.data).hexdigest()  # while its bytes are at hand
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
