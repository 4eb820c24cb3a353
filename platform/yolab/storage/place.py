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
    """The files below one folder, by names such as "run.json" or "checkpoint/weights.safetensors".

    What is read has been written whole: a reader sees the file before, or the one after. Before a write returns the
    file is on disk and has been read back; of what is copied (`keep`, `replace_folder`) the sizes are compared.
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

    def keep(self, path: Path, under: str = "") -> Path:
        """Copy a file into a folder in here, in place of one of that name; return where it is."""
        target = self.path / under / path.name
        if target != path:
            with (self / under)._incoming(path.name) as incoming:
                shutil.copyfile(path, incoming)
                _require_same_size(incoming, path)
                incoming.rename(target)
        return target

    def replace_folder(self, name: str, source: Path) -> None:
        """Copy a local folder here as a whole, in place of the one of that name, which stays until this one is whole;
        see `whole_folders`."""
        current, previous, incoming = (self.path / f"{name}{end}" for end in ("", ".previous", _INCOMING))
        shutil.rmtree(incoming, ignore_errors=True)
        try:
            with _told_in_words(incoming):
                _copy(source, incoming)
        except (OSError, YolabError):
            shutil.rmtree(incoming, ignore_errors=True)
            raise
        if current.exists():
            shutil.rmtree(previous, ignore_errors=True)
            current.rename(previous)
        incoming.rename(current)
        _sync(self.path)
        shutil.rmtree(previous, ignore_errors=True)

    def whole_folders(self, name: str) -> list[Path]:
        """Return the folder that `replace_folder` wrote last, and the one before if a kill has left it; none if there
        is none."""
        current, previous = self.path / name, self.path / f"{name}.previous"
        if not current.exists() and previous.exists():  # killed between the two renames of `replace_folder`
            previous.rename(current)
        return [folder for folder in (current, previous) if folder.exists()]

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


def _copy(source: Path, target: Path) -> None:
    """Copy a folder; on return the copy is on disk, and whole."""
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")):  # a folder before what is in it
        copied = target / path.relative_to(source)
        if path.is_dir():
            copied.mkdir()
        else:
            shutil.copyfile(path, copied)
            _require_same_size(copied, path)
    for copied in [*target.rglob("*"), target]:
        _sync(copied)


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
