"""What the training loop knows of the world around it: where its checkpoints are kept, and who hears of its epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from yolab.storage import Storage

CHECKPOINT = "checkpoint"  # the folder of the last whole checkpoint in that of a run


class CheckpointStore(Protocol):
    """Where the checkpoints of a run are kept: a folder, or Ray's own storage."""

    def last(self) -> Path | None:
        """Return a local folder with the last durable checkpoint of the run, None at its beginning."""

    def save(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        """Make metrics and checkpoint of a finished epoch (from 1) durable, then announce them. Called by every rank,
        equally often; only rank 0 passes a checkpoint, a folder that it may delete afterwards."""

    def should_stop(self) -> bool:
        """Return whether nobody wants more epochs than were saved."""
        return False


class Observer:
    """Hears of a run's epochs and files; this one does nothing, others say what interests them."""

    def restored(self, checkpoint: Path | None) -> None:
        """Hear that the run begins at a checkpoint, or anew."""

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

    def restore(self) -> Path | None:
        """Return the folder of the last durable checkpoint of this run, or None at its beginning."""
        checkpoint = self.checkpoints.last()
        for observer in self.observers:
            observer.restored(checkpoint)
        return checkpoint

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

    def last(self) -> Path | None:
        return self.storage.whole_folder(CHECKPOINT)

    def save(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        if checkpoint is not None:
            self.storage.replace_folder(CHECKPOINT, checkpoint)


class NoCheckpoints(CheckpointStore):
    """Keeps nothing."""

    def last(self) -> Path | None:
        return None

    def save(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        pass
