"""A place that keeps files: written whole, verified, and only then announced."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

LEFT_SECONDS = 24 * 3600.0  # after which what is not whole yet never will be


class Storage(ABC):
    """The files below one folder, or below one prefix of a bucket, by names such as "run.json" or
    "evaluation/worst.jpg".

    What is read has been written whole: a reader sees the file before, or the one after. What a method has written when
    it returns is there to stay, and was read back, or verified by who keeps it. All raise YolabError, in words, where
    the place can't be used.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of where it is."""

    @property
    @abstractmethod
    def parent(self) -> "Storage":
        """What it is a part of."""

    @abstractmethod
    def __truediv__(self, name: str) -> "Storage":
        """Return a part of it."""

    @abstractmethod
    def __str__(self) -> str:
        """Return how it is named, so that `storage_at` finds it again."""

    @abstractmethod
    def knock(self) -> None:
        """Return if who keeps the files answers within seconds."""

    @abstractmethod
    def require_writable(self) -> None:
        """Raise UsageError if nothing can be kept here; what isn't there yet isn't there afterwards."""

    @abstractmethod
    def exists(self, name: str = "") -> bool:
        """Return whether there is a file of that name, or anything below it."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return what is directly in here, files and folders, in order; nothing if the place isn't there yet."""

    @abstractmethod
    def size(self) -> int:
        """Return the bytes of all that is in here."""

    @abstractmethod
    def read(self, name: str, start: int = 0) -> bytes:
        """Return a file's content from a byte on. Raises FileNotFoundError."""

    @abstractmethod
    def now(self) -> float:
        """Return what the clock of who keeps the files says, in seconds since 1970: the one that `written_at` is by."""

    @abstractmethod
    def written_at(self, name: str) -> float:
        """Return when a file was written, in seconds since 1970. Raises FileNotFoundError."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file in place of one of that name."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one of that name; return whether it was written. Of several callers at the same
        time one succeeds."""

    @abstractmethod
    def append(self, name: str, line: bytes) -> None:
        """Add a line to a file, on a line of its own even if a kill has torn the last one. Several may add at the same
        time; such a file is written in no other way."""

    @abstractmethod
    def keep(self, path: Path, under: str = "") -> str:
        """Copy a local file into a folder in here, in place of one of that name; return its name."""

    @abstractmethod
    def copy(self, name: str, to: str) -> None:
        """Give a file's content a second name, in place of one of that name. Raises FileNotFoundError."""

    @abstractmethod
    def local(self, name: str, scratch: Path) -> Path:
        """Return a file or folder as a local one, to be read; what has to be fetched for that goes into `scratch`."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file or a folder; nothing happens if it isn't there."""

    @abstractmethod
    def for_arrow(self) -> tuple[str, Any]:
        """Return the place as libraries over pyarrow take it: a path, and its file system, None: this machine's."""

    @abstractmethod
    def leftovers(self) -> dict[str, int]:
        """Return what writes have left that were broken off more than a day ago, with its bytes."""

    @abstractmethod
    def remove_leftover(self, name: str) -> None:
        """Remove what `leftovers` has named."""
