"""One split of a data set as it is on disk: read once, whoever asks for what of it."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from yolab.data.annotations import Checked, annotations_file, check_annotations, read_annotations
from yolab.data.cache import FilesState, Remembered
from yolab.data.images import ImageFolder
from yolab.errors import UsageError


class SplitFiles:
    """The annotations and images of a split, of which the state is taken here, before anything is read."""

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = Path(os.path.abspath(root)), split  # workers change directory
        self.annotations = annotations_file(self.root, split)
        self.images = ImageFolder(self.root / split)
        self.file_digests: dict[str, str] = {}  # SHA-256 of the images that have been read, by name
        self._state = FilesState([self.annotations, self.images.folder])

    @cached_property
    def content(self) -> dict[str, list[Any]]:
        """The JSON with its lists `images`, `annotations` and `categories`. Raises UsageError."""
        return read_annotations(self.root, self.split)

    @cached_property
    def checked(self) -> Checked:
        """What is found without decoding: all faults of the annotations, images that are missing or empty."""
        return check_annotations(self.split, self.content, self._bytes_of_image)

    def remembered(self, name: str) -> Remembered:
        """Return what is remembered of the split's files under a name."""
        return Remembered(name, self._state)

    def require(self) -> None:
        """Raise UsageError if the split isn't there: its JSON, or the folder of its images."""
        if not self.annotations.is_file():
            self.content  # noqa: B018  # says what is there instead
        if not self.images.folder.is_dir():
            raise UsageError(
                f"{self.root} has annotations of the split {self.split!r} but no images: put them into "
                f"{self.images.folder}."
            )

    def _bytes_of_image(self, name: str) -> int:
        known = self._state.sizes.get(f"{self.images.folder}{os.sep}{name}")
        return self.images.size(name) if known is None else known
