"""A place that keeps files: written whole, verified, and only then announced."""

import contextlib
import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yolab.errors import UsageError, YolabError

DEFAULT = "runs"
VARIABLE = "YOLAB_STORAGE"
_INCOMING = ".incoming"  # how the names of what is not whole yet end
_NO_PLACE = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT}
_PROBE_BYTES = 1 << 20


@dataclass(frozen=True)
class Storage:
    """The files below one folder, by names such as "run.json" or "evaluation/worst.jpg".

    What is read has been written whole: a reader sees the file before, or the one after. Before a write returns the
    file is on disk and has been read back; of what is copied (`keep`) the sizes are compared.
    """

    path: Path

    @classmethod
    def at(cls, place: "str | Path | Storage | None" = None) -> "Storage":
        """Return the place that is named; None: YOLAB_STORAGE, else `runs` here. Raises UsageError for a place that
        can't be used."""
        if isinstance(place, Storage):
            return place
        named = str(place or os.environ.get(VARIABLE) or DEFAULT)
        scheme = re.match(r"([A-Za-z][\w+.-]*)://", named)
        if scheme and scheme[1].lower() != "file":
            raise UsageError(f"The storage can't be {named}: {scheme[1]} is not supported. Name a folder.")
        path = Path(os.path.abspath(named[scheme.end() :] if scheme else named))
        if path.exists() and not path.is_dir():
            raise UsageError(f"The storage can't be {named}: it is a file. Name a folder.")
        return cls(path)

    def __truediv__(self, name: str) -> "Storage":
        return Storage(self.path / name)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def parent(self) -> "Storage":
        return Storage(self.path.parent)

    def exists(self, name: str = "") -> bool:
        return (self.path / name).exists()

    def require_writable(self) -> None:
        """Raise UsageError if nothing can be kept here; a folder that isn't there yet isn't there afterwards."""
        is_new = not self.path.exists()
        try:
            with self._incoming("probe") as probe:
                probe.write_bytes(bytes(_PROBE_BYTES))
                _sync(probe)
        except YolabError as error:
            raise UsageError(f"The storage can't be {self}. {error}") from error
        finally:
            if is_new:
                with contextlib.suppress(OSError):  # it could not be made
                    self.path.rmdir()

    def names(self) -> list[str]:
        """Return what is directly in here, files and folders, in order; nothing if the place isn't there yet."""
        if not self.path.is_dir():
            return []
        return sorted(name for name in os.listdir(self.path) if not name.endswith(_INCOMING))

    def read(self, name: str, start: int = 0) -> bytes:
        """Return a file's content from a byte on. Raises FileNotFoundError."""
        with (self.path / name).open("rb") as file:
            file.seek(start)
            return file.read()

    def age_seconds(self, name: str) -> float:
        """Return how long ago a file was written. Raises FileNotFoundError."""
        return time.time() - (self.path / name).stat().st_mtime

    def write(self, name: str, content: bytes) -> None:
        """Write a file in place of one of that name. Raises YolabError if it does not read back as it was written."""
        with self._incoming(name) as incoming:
            incoming.write_bytes(content)
            _sync(incoming)
            _require_equal(incoming, content)
            incoming.rename(self.path / name)
            _sync(incoming.parent)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one of that name; return whether it was written. Of several callers at the same
        time one succeeds."""
        with self._incoming(name) as incoming:
            incoming.write_bytes(content)
            _sync(incoming)
            _require_equal(incoming, content)
            try:
                os.link(incoming, self.path / name)
            except FileExistsError:
                return False
            _sync(incoming.parent)
            return True

    def append(self, name: str, line: bytes) -> None:
        """Add a line to a file, on disk on return, on a line of its own even if a kill has torn the last one. For one
        writer."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _told_in_words(path), path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def keep(self, path: Path, under: str = "") -> str:
        """Copy a local file into a folder in here, in place of one of that name; return its name."""
        name = f"{under}/{path.name}" if under else path.name
        if self.path / name != path:
            with self._incoming(name) as incoming:
                shutil.copyfile(path, incoming)
                _sync(incoming)
                _require_same_size(incoming, path)
                incoming.rename(self.path / name)
                _sync(incoming.parent)
        return name

    def copy(self, name: str, to: str) -> None:
        """Give a file's content a second name, in place of one of that name. Raises FileNotFoundError."""
        with self._incoming(to) as incoming:
            incoming.unlink()
            os.link(self.path / name, incoming)
            incoming.rename(self.path / to)
            _sync(incoming.parent)

    def local(self, name: str, scratch: Path) -> Path:
        """Return a file or folder as a local one, to be read; what has to be fetched for that goes into `scratch`."""
        return self.path / name

    def remove(self, name: str) -> None:
        """Remove a file or a folder, at once for who reads; nothing happens if it isn't there."""
        path = self.path / name
        if path.is_dir():
            going = Path(f"{path}{_INCOMING}")
            shutil.rmtree(going, ignore_errors=True)  # of a removal that was killed
            shutil.rmtree(path.rename(going), ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _incoming(self, name: str) -> Iterator[Path]:
        """Give a name beside the file's, for what is not whole yet; it is gone afterwards."""
        target = self.path / name
        with _told_in_words(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, incoming = tempfile.mkstemp(prefix=f"{target.name}.", suffix=_INCOMING, dir=target.parent)
            os.fchmod(handle, 0o644)
            os.close(handle)
            try:
                yield Path(incoming)
            finally:
                Path(incoming).unlink(missing_ok=True)


@contextlib.contextmanager
def _told_in_words(path: Path) -> Iterator[None]:
    """Raise YolabError where there is no place to write a file or folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        raise YolabError(f"Can't write {path}: {error.strerror}. Mend that, or name another storage.") from error


def _sync(path: Path) -> None:
    """Force a file or folder to disk, so that a rename that follows can't come to light without it."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _require_same_size(path: Path, source: Path) -> None:
    if path.stat().st_size != source.stat().st_size:
        raise YolabError(f"{path} is not what was written: is the disk full?")


def _require_equal(path: Path, content: bytes) -> None:
    if path.read_bytes() != content:
        raise YolabError(f"{path} is not what was written: is the disk full, or broken?")
