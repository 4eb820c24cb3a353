"""Data sets that are kept elsewhere, packed in a bucket or in a DVC remote: a machine has one copy by content, whole,
verified, read-only, that all its processes share."""

import fcntl
import functools
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from yolab.data.cache import user_cache
from yolab.errors import UsageError, YolabError
from yolab.storage import Storage, is_remote, storage_at
from yolab.storage.document import as_bytes, check_version

VARIABLE = "YOLAB_CACHE_GIB"  # at most so much of the disk
_MANIFEST, _VERSION = "manifest.json", 1
_PART = ".part-"
_AT_ONCE = 8  # files that are fetched at the same time
_LOOK_SECONDS = 1.0

logger = logging.getLogger("yolab")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _File:
    """A file of a data set, by its `name` there: which `object` holds it, and its content's hash."""

    name: str
    object: str
    algorithm: str
    digest: str


@dataclass(frozen=True)
class RemoteSet:
    """A data set in a `place`, where the file `listing`, of this `digest`, names all its files. It is the folder
    `within` of them. `bytes`: of all."""

    place: Storage
    listing: str
    digest: str
    bytes: int
    within: str = ""

    @classmethod
    def packed(cls, place: Storage) -> "RemoteSet":
        """Return what `publish` has put into a place. Raises UsageError if there is none."""
        try:
            content = place.read(_MANIFEST)
            return cls(place, _MANIFEST, hashlib.sha256(content).hexdigest(), int(json.loads(content)["bytes"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            raise UsageError(
                f"There is no data set in {place}: put one there with `yolab data pack FOLDER {place}`."
            ) from None

    @classmethod
    def in_dvc(cls, remote: Storage, md5: str, bytes: int, within: str) -> "RemoteSet":
        """Return the folder `within` one that a DVC 3 has pushed to a remote, pinned as `md5`."""
        return cls(remote, _dvc_object(md5), md5.removesuffix(".dir"), bytes, within)

    def __str__(self) -> str:
        return str(self.place if self.listing == _MANIFEST else self.place / self.listing)

    @property
    def folder(self) -> Path:
        """Where this machine has its copy, if it has one."""
        return self._copy / self.within

    def here(self, progress: Progress | None = None) -> Path:
        """Return this machine's copy, which stays as long as this process lives. One process fetches it, the others
        wait; what was fetched before a kill is not fetched again. `progress` is called with (done, total) MiB.

        Raises UsageError if it isn't there, or there is no room for it, YolabError if it can't be had whole.
        """
        copy = self._copy
        copy.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock_of(copy)
        try:
            while True:
                fcntl.flock(lock, fcntl.LOCK_SH)
                if copy.is_dir():
                    os.utime(copy)  # the last time that it was asked for
                    return self.folder
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not copy.is_dir():
                    self._fetch(copy, progress or (lambda done, total: None))
        except BaseException:  # this process may live on, and others want to try
            fcntl.flock(lock, fcntl.LOCK_UN)
            raise

    @property
    def _copy(self) -> Path:
        return _copies() / hashlib.sha256(f"{self.digest}/{self.within}".encode()).hexdigest()[:32]

    def _fetch(self, copy: Path, progress: Progress) -> None:
        files = list(self._files())
        incoming = copy.with_suffix(".incoming")
        there = _bytes_in(incoming) if incoming.is_dir() else 0
        _make_room(self, max(0, self.bytes - there), copy.parent)
        incoming.mkdir(exist_ok=True)
        for part in incoming.glob(f"{_PART}*"):  # of a process that was killed
            shutil.rmtree(part)
        logger.info("Fetching %s, %.1f MiB.", self, self.bytes / 2**20)
        started, fetched, told = time.monotonic(), 0, 0.0
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for size in pool.map(functools.partial(self._fetch_file, incoming), files):
                fetched += size
                if time.monotonic() > told + _LOOK_SECONDS:
                    told = time.monotonic()
                    progress(fetched >> 20, self.bytes >> 20)
        incoming.rename(copy)
        logger.info("Fetched %s in %.0f s.", self, time.monotonic() - started)

    def _fetch_file(self, incoming: Path, file: _File) -> int:
        target = incoming / file.name
        if not (target.is_file() and _hash_of(target, file.algorithm) == file.digest):
            target.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=incoming, prefix=_PART) as scratch:
                try:
                    found = self.place.local(file.object, Path(scratch))
                    if found.parent != Path(scratch):
                        found = Path(shutil.copy(found, scratch))
                except FileNotFoundError:
                    raise YolabError(f"{self.place / file.object}, a file of the data set {self}, is gone.") from None
                if _hash_of(found, file.algorithm) != file.digest:
                    raise YolabError(f"{self.place / file.object} is not what {self} lists: put the data there anew.")
                found.chmod(0o444)
                found.rename(target)
        return target.stat().st_size

    def _files(self) -> Iterator[_File]:
        algorithm = "sha256" if self.listing == _MANIFEST else "md5"
        try:
            content = self.place.read(self.listing)
        except FileNotFoundError:
            raise UsageError(f"{self} isn't there: put the data there, `dvc push` or `yolab data pack`.") from None
        if hashlib.new(algorithm, content).hexdigest() != self.digest:
            raise YolabError(f"{self.place / self.listing} has changed: begin again to use what is there now.")
        listed = json.loads(content)
        if algorithm == "md5":
            there = [item for item in listed if PurePosixPath(item["relpath"]).is_relative_to(self.within)]
            if not there:
                raise UsageError(f"There is no folder {self.within} in what is pinned, {self}: check the path.")
            for item in there:
                yield _File(_inside(item["relpath"]), _dvc_object(item["md5"]), algorithm, item["md5"])
            return
        check_version(listed.pop("format", None), _VERSION, str(self.place / self.listing))
        for name, digest in listed["files"].items():
            yield _File(_inside(name), name, algorithm, digest)


def folder_of(path: str, progress: Progress | None = None) -> Path:
    """Return the folder of a data set that an experiment names: a folder, or a bucket, of which this machine then has a
    copy. Raises UsageError, YolabError."""
    return RemoteSet.packed(storage_at(path)).here(progress) if is_remote(path) else Path(path)


def require_unpublished(place: Storage) -> None:
    """Raise UsageError if there is a data set in a place; parts of one, which a kill has left, are replaced."""
    if place.exists(_MANIFEST):
        raise UsageError(f"There is a data set in {place} already: choose another place.")


def publish(folder: Path, place: Storage, progress: Progress | None = None) -> None:
    """Put the files of a folder into a place, last what lists them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {}
    for done, path in enumerate(paths, start=1):
        inside = path.relative_to(folder)
        files[inside.as_posix()] = _hash_of(path, "sha256")
        place.keep(path, "" if inside.parent == Path() else inside.parent.as_posix())
        if progress:
            progress(done, len(paths))
    place.write(_MANIFEST, as_bytes({"bytes": _bytes_in(folder), "files": files}, _VERSION))


def unused() -> dict[Path, int]:
    """Return the copies of this machine that no process uses, the one that was asked for longest ago first, with their
    bytes."""
    found = [path for path in _copies().glob("*") if path.is_dir()]
    return {path: _bytes_in(path) for path in sorted(found, key=lambda path: path.stat().st_mtime) if _is_free(path)}


def remove_unused(copy: Path) -> bool:
    """Remove a copy unless a process uses it; return whether it is gone."""
    with _alone_with(copy) as alone:
        if alone and copy.is_dir():
            gone = copy.with_suffix(".gone")  # at once: nobody sees a part of it
            if copy != gone:
                shutil.rmtree(gone, ignore_errors=True)
                copy.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        return alone


def _make_room(wanted: RemoteSet, size: int, folder: Path) -> None:
    """Remove unused copies until so many bytes fit, into the disk and into what may be used of it."""
    limit = _limit()
    for copy in unused():
        if size <= min(limit - _bytes_in(folder), shutil.disk_usage(folder).free):
            break
        if remove_unused(copy):
            logger.info("Removed %s, which nobody uses, for %s.", copy, wanted)
    left = limit - _bytes_in(folder)
    if size > left:
        raise UsageError(
            f"{wanted} needs {size / 2**30:.1f} GiB, and {VARIABLE}={limit / 2**30:g} leaves {max(0, left) / 2**30:.1f}"
            ": raise it."
        )
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UsageError(
            f"{wanted} needs {size / 2**30:.1f} GiB and the disk of {folder} has {free / 2**30:.1f} GiB left: free "
            "some, or let XDG_CACHE_HOME name a folder on a larger one."
        )


def _limit() -> float:
    said = os.environ.get(VARIABLE)
    try:
        return float(said) * 2**30 if said else float("inf")
    except ValueError:
        raise UsageError(f"{VARIABLE} can't be {said!r}: say a number of GiB.") from None


def _copies() -> Path:
    return user_cache() / "data"


def _open_lock(copy: Path) -> int:
    """Return the file by which the processes of a machine agree on a copy, opened anew."""
    return os.open(copy.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)


_lock_of = functools.cache(_open_lock)  # that of this process, which it has as long as it lives


@contextmanager
def _alone_with(copy: Path) -> Iterator[bool]:
    """Give whether no process uses a copy, and let none begin to."""
    lock = _open_lock(copy)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        yield alone
    finally:
        os.close(lock)


def _is_free(copy: Path) -> bool:
    with _alone_with(copy) as alone:
        return alone


def _inside(name: str) -> str:
    """Return a listed name. Raises YolabError if it leads out of the data set's folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise YolabError(f"A data set can't have a file {name!r}: it would be outside of its folder.")
    return name


def _dvc_object(md5: str) -> str:
    return f"files/md5/{md5[:2]}/{md5[2:]}"


def _hash_of(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _bytes_in(folder: Path) -> int:
    size = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # another process has just moved it
                size += os.stat(os.path.join(inside, name)).st_size
    return size
