"""Packed data sets: the images of a split in a few large files, which a network disk and DVC take better than many
small ones. Annotations stay the JSON that they are; the content digest stays the same."""

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow

from yolab.data.annotations import annotations_file, split_names
from yolab.data.images import ImageFolder
from yolab.data.new_folder import new_folder
from yolab.data.split_files import SplitFiles
from yolab.data.verify import report
from yolab.errors import UsageError

SHARD_BYTES = 256 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Packed:
    """What was written of a split."""

    images: int
    shards: int


def pack(
    source: Path, target: Path, shard_bytes: int = SHARD_BYTES, progress: Progress | None = None
) -> dict[str, Packed]:
    """Write the data set in `source` to a new folder, its images in Arrow shards of about `shard_bytes`.

    Images go in the order of their ids; files that the annotations don't name stay behind. `progress` is called with
    (done, total) images. Raises UsageError, and leaves nothing behind, if the target is there already, if there is no
    data set in `source`, or if a description of an image is faulty.
    """
    named = {split: _named(source, split) for split in split_names(source)}
    total, count = sum(map(len, named.values())), itertools.count(1)

    def read(folder: ImageFolder, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, folder.read(name).tobytes()
            if progress:
                progress(next(count), total)

    packed = {}
    with new_folder(target) as incoming:
        (incoming / "annotations").mkdir()
        for split, names in named.items():
            shutil.copyfile(annotations_file(source, split), annotations_file(incoming, split))
            shards = write_shards(read(ImageFolder(source / split), names), incoming / split, shard_bytes)
            packed[split] = Packed(len(names), shards)
    return packed


def _named(root: Path, split: str) -> list[str]:
    """Return the files of a split in the order of their images' ids."""
    files = SplitFiles(root, split)
    faults = [finding for finding in files.checked.findings if finding.about == "images"]
    if faults:
        told = report(root, [replace(files.checked, findings=tuple(faults))])
        raise UsageError(f"{told.summary()}\nRepair the data, or take these images out of it, before it is packed.")
    return [image["file_name"] for image in sorted(files.content["images"], key=lambda image: image["id"])]


def write_shards(images: Iterable[tuple[str, bytes]], folder: Path, shard_bytes: int = SHARD_BYTES) -> int:
    """Write images, each a name and its bytes, to a new folder as `ImageFolder` reads them; return how many shards."""
    folder.mkdir()
    shards = 0
    for shards, group in enumerate(_groups(images, shard_bytes), start=1):
        names, contents = zip(*group)
        columns = [pyarrow.array(names, pyarrow.string()), pyarrow.array(contents, pyarrow.binary())]
        batch = pyarrow.record_batch(columns, ["file_name", "image"])
        with pyarrow.ipc.new_file(str(folder / f"{shards:05d}.arrow"), batch.schema) as file:
            file.write_batch(batch)
    return shards


def _groups(images: Iterable[tuple[str, bytes]], most_bytes: int) -> Iterator[list[tuple[str, bytes]]]:
    group: list[tuple[str, bytes]] = []
    size = 0
    for name, content in images:
        group.append((name, content))
        size += len(content)
        if size >= most_bytes:
            yield group
            group, size = [], 0
    if group:
        yield group
