"""Rank 0's observer for MLflow: first the journal, whose copy travels inside each checkpoint, then what is sent."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from yolab.storage import Storage
from yolab.tracking import mlflow_runs, run_log
from yolab.tracking.flusher import Flusher
from yolab.tracking.journal import FILE_NAME, Journal
from yolab.tracking.outbox import Outbox
from yolab.training.reporter import Observer

LAST_TRY_SECONDS = 5.0


class Tracking(Observer):
    """Writes a run's metrics to its journal, the names of its files to its outbox, and wakes who sends both. Without a
    flusher nothing is sent."""

    def __init__(self, journal: Journal, outbox: Outbox, flusher: Flusher | None) -> None:
        self.journal, self.outbox, self.flusher = journal, outbox, flusher

    def restored(self, checkpoint: Path | None) -> None:
        self.journal.restore(checkpoint)
        self._wake()  # for what the killed process could not send any more

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        run_log.say_epoch(epoch, metrics)  # now: a trial that its scheduler stops is ended as soon as this is durable
        self.journal.append(epoch, metrics)

    def checkpoint_made(self, folder: Path) -> None:
        self.journal.copy_into(folder)

    def epoch_saved(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._wake()

    def file_kept(self, name: str, under: str) -> None:
        self.outbox.file(name, under)
        self._wake()

    def _wake(self) -> None:
        if self.flusher:
            self.flusher.wake()


@contextmanager
def tracked(run: Storage, uri: str, scratch: Path) -> Iterator[Tracking]:
    """Give the observer that tracks in MLflow the run that was opened in the outbox of its place, with the machine's
    load; its journal is in `scratch`.

    What the run says is logged in its place. What MLflow has not taken soon after the end, also by an error, stays in
    the outbox and in the journals of the checkpoints.
    """
    journal, outbox = Journal(scratch / FILE_NAME), Outbox(run)
    flusher = Flusher(lambda: outbox.deliver(uri, journal.path))
    with mlflow_runs.system_metrics(uri, lambda: outbox.run_id):
        try:
            with run_log.written(run):
                yield Tracking(journal, outbox, flusher)
        finally:
            outbox.file(run_log.FILE_NAME)
            flusher.close(LAST_TRY_SECONDS)
