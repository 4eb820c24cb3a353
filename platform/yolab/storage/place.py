"""A place that keeps files: written whole, verified, and only then announced."""

import os
import re
from abc import ABC, abstractmethod
from pathlib import Path

from yolab.errors import UsageError

DEFAULT = "runs"
VARIABLE = "YOLAB_STORAGE"
LEFT_SECONDS = 24 * 3600.0  # after which what is not whole yet never will be


class Storage(ABC):
    """The files below one folder, or below one prefix of a bucket, by names such as "run.json" or
    "evaluation/worst.jpg".

    What is read has been written whole: a reader sees the file before, or the one after. What a method has written when
    it returns is there to stay, and was read back, or verified by who keeps it. All raise YolabError, in words, where
    the place can't be used.
    """

    @staticmethod
    def at(place: "str | Path | Storage | None" = None) -> "Storage":
        """Return the place that is named, a folder or `s3://bucket/prefix`; None: YOLAB_STORAGE, else `runs` here.
        Raises UsageError for a place that can't be used."""
        from yolab.storage.bucket import Bucket  # here, because they are made of this one
        from yolab.storage.folder import Folder

        if isinstance(place, Storage):
            return place
        named = str(place or os.environ.get(VARIABLE) or DEFAULT)
        scheme = re.match(r"([A-Za-z][\w+.-]*)://", named)
        kind, rest = (scheme[1].lower(), named[scheme.end() :]) if scheme else ("file", named)
        if kind == "s3":
            return Bucket.named(rest)
        if kind != "file":
            raise UsageError(f"The storage can't be {named}: {kind} is not supported. Name a folder, or s3://….")
        path = Path(os.path.abspath(rest))
        if path.exists() and not path.is_dir():
            raise UsageError(f"The storage can't be {named}: it is a file. Name a folder.")
        return Folder(path)

    @staticmethod
    def file(where: str, scratch: Path) -> Path:
        """Return a file that is named as a place is as a local one; see `local`. Raises FileNotFoundError."""
        folder, _, name = where.rpartition("/")
        return Storage.at(folder).local(name, scratch) if "://" in where else Path(where)

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
        """Return how it is named, so that `at` finds it again."""

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
        """Add a line to a file, on a line of its own even if a kill has torn the last one. For one writer; such a file
        is written in no other way."""

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
    def leftovers(self) -> dict[str, int]:
        """Return what writes have left that were broken off more than a day ago, with its bytes."""

    @abstractmethod
    def remove_leftover(self, name: str) -> None:
        """Remove what `leftovers` has named."""
