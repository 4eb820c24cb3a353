"""What the training loop knows of the world around it: where its checkpoints are kept, and who hears of its epochs."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch

from yolab.errors import YolabError
from yolab.storage import Storage

logger = logging.getLogger("yolab")

CHECKPOINT = "checkpoint"  # the folder of the last whole checkpoint in that of a run


class DamagedCheckpointError(YolabError):
    """A file of a checkpoint is missing, cut off, or not what was written: there is no going on from it."""


@contextmanager
def read_of_checkpoint(path: Path) -> Iterator[None]:
    """Raise DamagedCheckpointError in place of whatever reading that file of a checkpoint raises."""
    try:
        yield
    except (YolabError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # torch, pickle, safetensors and json have no class in common for damaged bytes
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedCheckpointError(f"{path} is damaged ({told}).") from None


class CheckpointStore(Protocol):
    """Where the checkpoints of a run are kept: a folder, or Ray's own storage."""

    def kept(self) -> Iterable[Path]:
        """Give a local folder with the last durable checkpoint of the run, then those before it that are still there;
        none at its beginning."""

    def save(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        """Make metrics and checkpoint of a finished epoch (from 1) durable, then announce them. Called by every rank,
        equally often; only rank 0 passes a checkpoint, a folder that it may delete afterwards."""

    def should_stop(self) -> bool:
        """Return whether nobody wants more epochs than were saved."""
        return False


class Observer:
    """Hears of a run's epochs and files; this one does nothing, others say what interests them."""

    def restored(self, checkpoint: Path | None) -> None:
        """Hear that the run begins at a checkpoint, or anew; after a DamagedCheckpointError, at an older one."""

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        """Hear of an epoch before it is durable; what is put into the folder of the checkpoint is kept with it."""

    def epoch_saved(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Hear of an epoch when it is durable."""

    def file_kept(self, path: Path, under: str) -> None:
        """Hear of a file in the folder `under` of the run's."""

    def should_stop(self) -> bool:
        """Return whether to stop after the epoch that was saved last."""
        return False


class Reporter:
    """The way out of the training loop: checkpoints to a store, epochs to observers, files to the run's `folder`."""

    def __init__(self, folder: Path, checkpoints: CheckpointStore, observers: Sequence[Observer] = ()) -> None:
        self.folder, self.checkpoints, self.observers = folder, checkpoints, tuple(observers)

    def also(self, observer: Observer) -> "Reporter":
        """Return the same with one more observer."""
        return Reporter(self.folder, self.checkpoints, (*self.observers, observer))

    def restore(self, load: Callable[[Path], None] = lambda checkpoint: None) -> Path | None:
        """Load the last durable checkpoint of this run that is whole, and return its folder, None at the beginning.

        Raises DamagedCheckpointError if none is whole.
        """
        damage = None
        for checkpoint in self.checkpoints.kept():
            try:
                load(checkpoint)
                self._say_restored(checkpoint)
            except DamagedCheckpointError as error:
                damage = error
                logger.warning("%s", error)
                continue
            if damage:
                logger.warning("The run goes on from the checkpoint before that, %s.", checkpoint.name)
            return checkpoint
        if damage:
            raise DamagedCheckpointError(
                f"{damage} There is no older checkpoint to go on from: begin the run anew, under another name."
            )
        self._say_restored(None)
        return None

    def _say_restored(self, checkpoint: Path | None) -> None:
        for observer in self.observers:
            observer.restored(checkpoint)

    def report(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        """Make the metrics and the checkpoint of a finished epoch (from 1) durable, then announce them.

        Called by every rank, equally often; only rank 0 passes a checkpoint, a folder that it may delete afterwards.
        """
        for observer in self.observers:
            observer.epoch_ended(epoch, metrics, checkpoint)
        self.checkpoints.save(epoch, metrics, checkpoint)
        for observer in self.observers:
            observer.epoch_saved(epoch, metrics)

    def should_stop(self) -> bool:
        """Return whether somebody on this rank wants the run to end after the last epoch, its state saved."""
        return self.checkpoints.should_stop() or any(observer.should_stop() for observer in self.observers)

    def save_artifact(self, path: Path, under: str = "") -> Path:
        """Keep a file (picture, table, weights) with the run, in its folder `under`; return where."""
        kept = Storage(self.folder).keep(path, under)
        for observer in self.observers:
            observer.file_kept(kept, under)
        return kept


class FolderCheckpoints(CheckpointStore):
    """The checkpoints of a plain process: `checkpoint/` in the run's folder is always a whole one."""

    def __init__(self, folder: Path) -> None:
        self.storage = Storage(folder)

    def kept(self) -> list[Path]:
        return self.storage.whole_folders(CHECKPOINT)

    def save(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        if checkpoint is not None:
            self.storage.replace_folder(CHECKPOINT, checkpoint)


class NoCheckpoints(CheckpointStore):
    """Keeps nothing."""

    def kept(self) -> list[Path]:
        return []

    def save(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        pass
