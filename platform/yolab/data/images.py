"""The encoded images of a split: the files of a folder, or what `yolab data pack` made of them."""

import errno
import os
import stat
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolab.errors import UsageError

ENDINGS = {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}  # of image files
_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class ImageFolder:
    """Images by name, as files, or out of Arrow shards that are opened by memory map, so that the processes of a node
    share them. A shard is an Arrow IPC file of one record batch with the columns `file_name` and `image`.

    upright: whether its images are turned as EXIF says, as viewers show them; COCO's boxes refer to pixels as stored.
    """

    def __init__(self, folder: Path, upright: bool = False) -> None:
        self.folder, self.upright = folder, upright

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageFolder, (self.folder, self.upright)  # another process maps the shards itself

    @cached_property
    def _packed(self) -> dict[str, tuple[np.ndarray, int, int]] | None:
        """Where each image is: its shard's bytes, the first of its own, the one after its last. None: in a file."""
        shards = sorted(self.folder.glob("*.arrow"))
        return {name: place for shard in shards for name, place in _shard(shard).items()} if shards else None

    @property
    def is_packed(self) -> bool:
        return self._packed is not None

    def size(self, name: str) -> int:
        """Return the bytes of an image. Raises OSError or ValueError if it is not there, IsADirectoryError if it is
        not a file."""
        if self._packed is not None:
            _, begin, end = self._place(name)
            return end - begin
        status = os.stat(self.folder / name)
        if not stat.S_ISREG(status.st_mode):
            raise IsADirectoryError(name)
        return status.st_size

    def read(self, name: str) -> np.ndarray:
        """Return an image's bytes as (bytes,) uint8. Raises OSError or ValueError if it is not there."""
        if self._packed is not None:
            content, begin, end = self._place(name)
            return content[begin:end]
        with open(os.path.join(self.folder, name), "rb", buffering=0) as file:
            return np.frombuffer(file.read(), np.uint8)

    def _place(self, name: str) -> tuple[np.ndarray, int, int]:
        assert self._packed is not None
        if name not in self._packed:
            raise FileNotFoundError(errno.ENOENT, "it is not in the folder's shards", name)
        return self._packed[name]


def _shard(path: Path) -> dict[str, tuple[np.ndarray, int, int]]:
    import pyarrow

    try:
        with pyarrow.ipc.open_file(pyarrow.memory_map(str(path))) as reader:
            (batch,) = (reader.get_batch(number) for number in range(reader.num_record_batches))
            names, images = batch.column("file_name").to_pylist(), batch.column("image")
            if images.type != pyarrow.binary():
                raise TypeError(f"its images are {images.type}")
    except (pyarrow.ArrowInvalid, KeyError, OSError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path} is no whole shard of packed images ({error}): pack the data anew, or pull it."
        ) from None
    _, offsets, content = images.buffers()
    ends = np.frombuffer(offsets, np.int32)[: len(names) + 1].tolist()
    pixels = np.frombuffer(content, np.uint8)
    return {name: (pixels, begin, end) for name, begin, end in zip(names, ends, ends[1:])}


def decode(encoded: np.ndarray, reduction: int = 1, upright: bool = False) -> np.ndarray | None:
    """Return (rows, columns, 3) uint8 BGR, the sides divided by 1, 2, 4 or 8; None if that can't be decoded. Pixels are
    as they are stored, or `upright`, turned as EXIF says."""
    flags = _FLAGS[reduction] | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image: np.ndarray | None = cv2.imdecode(encoded, flags)
    except cv2.error:  # nothing in there
        return None
    return image
