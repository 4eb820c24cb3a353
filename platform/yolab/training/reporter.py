"""What the training loop knows of the world around it: where its checkpoints are kept, and who hears of its epochs."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from yolab.errors import YolabError
from yolab.storage import Storage
from yolab.storage.checkpoints import Checkpoints, DamagedCheckpointError, fetched

logger = logging.getLogger("yolab")


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


class Observer:
    """Hears of a run's epochs and files; this one does nothing, others say what interests them."""

    def restored(self, checkpoint: Path | None) -> None:
        """Hear that the run begins at a checkpoint, or anew; after a DamagedCheckpointError, at an older one."""

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Hear of an epoch before it is durable."""

    def checkpoint_made(self, folder: Path) -> None:
        """Hear of a checkpoint before it is saved; what is put into its folder is kept with it."""

    def epoch_saved(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Hear of an epoch when it is durable."""

    def file_kept(self, name: str, under: str) -> None:
        """Hear of a file by its name in the run's place, where it is in the folder `under`."""

    def should_stop(self) -> bool:
        """Return whether to stop after the epoch that was saved last."""
        return False

    def should_save(self) -> bool:
        """Return whether to save the state at the next step; every rank asks as often as the others."""
        return False

    def should_leave(self) -> bool:
        """Return whether to save the state at the next step and leave, to go on with the run another time."""
        return False


class Reporter:
    """The way out of the training loop: checkpoints and files to the `run`'s place in the storage, epochs to observers.
    Without `checkpoints` none is kept."""

    def __init__(self, run: Storage, checkpoints: Checkpoints | None, observers: Sequence[Observer] = ()) -> None:
        self.run, self.checkpoints, self.observers = run, checkpoints, tuple(observers)

    def also(self, observer: Observer) -> "Reporter":
        """Return the same with one more observer."""
        return Reporter(self.run, self.checkpoints, (*self.observers, observer))

    def restore(
        self, load: Callable[[Path], None] = lambda checkpoint: None, only: Sequence[Storage] | None = None
    ) -> Storage | None:
        """Load the last checkpoint of this run that is whole, and return it, None at the beginning; `only` those that
        are given, if any are.

        Raises DamagedCheckpointError if none is whole.
        """
        candidates = self.checkpoints.candidates() if self.checkpoints and only is None else only or ()
        damage = None
        for checkpoint in candidates:
            try:
                with fetched(checkpoint) as folder:
                    load(folder)
                    self._say_restored(folder)
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
            observer.epoch_ended(epoch, metrics)
        if checkpoint is not None:
            self.save(epoch, checkpoint)
        for observer in self.observers:
            observer.epoch_saved(epoch, metrics)

    def save(self, epoch: int, checkpoint: Path, batches: int = 0) -> None:
        """Make the files in a folder the checkpoint after so many finished epochs and batches of the next. Called by
        rank 0; it may delete the folder afterwards."""
        for observer in self.observers:
            observer.checkpoint_made(checkpoint)
        if self.checkpoints:
            self.checkpoints.save(epoch, checkpoint, batches)

    def should_stop(self) -> bool:
        """Return whether somebody on this rank wants the run to end after the last epoch, its state saved."""
        return any(observer.should_stop() for observer in self.observers)

    def should_save(self) -> bool:
        """Return whether somebody on this rank wants the state to be saved at the next step."""
        wishes = [observer.should_save() for observer in self.observers]  # all are asked, as on every rank
        return any(wishes)

    def should_leave(self) -> bool:
        """Return whether somebody on this rank wants the run to leave at the next step, its state saved."""
        return any(observer.should_leave() for observer in self.observers)

    def save_artifact(self, path: Path, under: str = "") -> None:
        """Keep a file (picture, table, weights) with the run, in its folder `under`."""
        name = self.run.keep(path, under)
        for observer in self.observers:
            observer.file_kept(name, under)
