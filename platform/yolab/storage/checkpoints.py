"""The checkpoints of a run in the storage: written whole, and only then announced; verified when they are read."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from yolab.errors import YolabError
from yolab.storage.document import as_bytes, read_document
from yolab.storage.hold import Hold
from yolab.storage.place import Storage

FOLDER = "checkpoints"
_MANIFEST = "manifest.json"
_VERSION = 1


class DamagedCheckpointError(YolabError):
    """A file of a checkpoint is missing, cut off, or not what was written: there is no going on from it."""


class Checkpoints:
    """The checkpoints of the run in the place `run`, of which so many are kept: the last may be damaged, the one before
    it is whole.

    Each is a folder `checkpoints/<epoch>-<digest>/`, in mid-epoch `<epoch>.<batches>-<digest>`. Its manifest, with the
    size and the SHA-256 of every file, is written last: a folder without one is no checkpoint. A run that takes over
    another's state goes on from `start`, a checkpoint of that one. Who saves has the `hold` of the run or its sweep.
    """

    def __init__(self, run: Storage, hold: Hold | None = None, *, kept: int = 2, start: Storage | None = None) -> None:
        self._run, self._place, self._hold, self._kept, self._start = run, run / FOLDER, hold, kept, start

    def newest(self) -> Storage | None:
        """Return the last checkpoint that was saved, None if there is none."""
        return next(self._whole(), None)

    def candidates(self) -> Iterator[Storage]:
        """Give what the run can go on from: the last checkpoint, then those before it."""
        if self._start is None:
            yield from self._whole()
        else:
            earlier = Checkpoints(self._start.parent.parent)._whole()
            yield from (checkpoint for checkpoint in earlier if checkpoint.name <= self._start.name)

    def save(self, epoch: int, folder: Path, batches: int = 0) -> None:
        """Make the files in a local folder the checkpoint after so many finished epochs, and batches of the next.
        Raises TakenOverError if another command has the hold."""
        paths = sorted(folder.iterdir())
        manifest = as_bytes({"files": {path.name: _described(path) for path in paths}}, _VERSION)
        within = f".{batches:06d}" if batches else ""
        name = f"{epoch:06d}{within}-{hashlib.sha256(manifest).hexdigest()[:8]}"
        for path in paths:
            self._place.keep(path, name)
        if self._hold:
            self._hold.require_own()
        for other in self._place.names():  # of a way that the run has left, back to a checkpoint before it
            if _position(other) >= _position(name) and other != name:
                self._discard(other)
        self._place.write(f"{name}/{_MANIFEST}", manifest)
        kept = {name, *[checkpoint.name for checkpoint in self._whole()][: self._kept]}
        for other in set(self._place.names()) - kept:
            self._discard(other)

    def deliver(self, *names: str) -> None:
        """Keep these files of the last checkpoint with the run, whatever becomes of its checkpoints."""
        newest = self.newest()
        if newest:
            for name in names:
                self._run.copy(f"{FOLDER}/{newest.name}/{name}", name)

    def _discard(self, name: str) -> None:
        self._place.remove(f"{name}/{_MANIFEST}")
        self._place.remove(name)

    def _whole(self) -> Iterator[Storage]:
        for name in reversed(self._place.names()):
            if self._place.exists(f"{name}/{_MANIFEST}"):
                yield self._place / name


@contextmanager
def fetched(checkpoint: Storage) -> Iterator[Path]:
    """Give a local folder with a checkpoint's files. Raises DamagedCheckpointError if one isn't what was saved,
    UsageError if a newer yolab saved them."""
    with TemporaryDirectory() as scratch:
        folder = checkpoint.local("", Path(scratch))
        try:
            saved = read_document(checkpoint, _MANIFEST, _VERSION)["files"]
            found = {name: _described(folder / name) for name in saved}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedCheckpointError(f"{checkpoint} is damaged ({error}).") from None
        for name in saved:
            if found[name] != saved[name]:
                raise DamagedCheckpointError(f"{checkpoint / name} is damaged (it is not what was saved).")
        yield folder


def _position(name: str) -> str:
    """Return how far a checkpoint is, in the order of its run."""
    return name.partition("-")[0]


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
