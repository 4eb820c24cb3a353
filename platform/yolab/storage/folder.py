"""Files in a folder, on a disk of this machine or one that machines share."""

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yolab.errors import UsageError, YolabError
from yolab.storage.place import LEFT_SECONDS, Storage

_INCOMING = ".incoming"  # how the names of what is not whole yet end
_NO_PLACE = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT}
_PROBE_BYTES = 1 << 20


@dataclass(frozen=True)
class Folder(Storage):
    """What is written is forced to disk and read back; of what is copied the sizes are compared."""

    path: Path

    def __truediv__(self, name: str) -> "Folder":
        return Folder(self.path / name)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def parent(self) -> "Folder":
        return Folder(self.path.parent)

    def exists(self, name: str = "") -> bool:
        return (self.path / name).exists()

    def knock(self) -> None:
        pass

    def require_writable(self) -> None:
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
        if not self.path.is_dir():
            return []
        return sorted(name for name in os.listdir(self.path) if not name.endswith(_INCOMING))

    def size(self) -> int:
        return _bytes_of(self.path)

    def read(self, name: str, start: int = 0) -> bytes:
        with (self.path / name).open("rb") as file:
            file.seek(start)
            return file.read()

    def now(self) -> float:
        try:
            with self._incoming("now") as touched:
                return touched.stat().st_mtime
        except (YolabError, PermissionError):  # it may be read, no more
            return time.time()

    def written_at(self, name: str) -> float:
        return (self.path / name).stat().st_mtime

    def write(self, name: str, content: bytes) -> None:
        with self._incoming(name) as incoming:
            incoming.write_bytes(content)
            _sync(incoming)
            _require_equal(incoming, content)
            incoming.rename(self.path / name)
            _sync(incoming.parent)

    def create(self, name: str, content: bytes) -> bool:
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
        name = f"{under}/{path.name}" if under else path.name
        with self._incoming(name) as incoming:
            shutil.copyfile(path, incoming)
            _sync(incoming)
            _require_same_size(incoming, path)
            incoming.rename(self.path / name)
            _sync(incoming.parent)
        return name

    def copy(self, name: str, to: str) -> None:
        if not self.exists(name):
            raise FileNotFoundError(f"{self / name}")
        with self._incoming(to) as incoming:
            incoming.unlink()
            os.link(self.path / name, incoming)
            incoming.rename(self.path / to)
            _sync(incoming.parent)

    def local(self, name: str, scratch: Path) -> Path:
        return self.path / name

    def remove(self, name: str) -> None:
        path = self.path / name
        if path.is_dir():
            going = Path(f"{path}{_INCOMING}")
            shutil.rmtree(going, ignore_errors=True)  # of a removal that was killed
            shutil.rmtree(path.rename(going), ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def for_arrow(self) -> tuple[str, None]:
        return str(self.path), None

    def leftovers(self) -> dict[str, int]:
        before = self.now() - LEFT_SECONDS
        found = [path for path in sorted(self.path.rglob(f"*{_INCOMING}")) if path.stat().st_mtime < before]
        return {str(path.relative_to(self.path)): _bytes_of(path) for path in found}

    def remove_leftover(self, name: str) -> None:
        path = self.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

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


def _bytes_of(path: Path) -> int:
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())


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
