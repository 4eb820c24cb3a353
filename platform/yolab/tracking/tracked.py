"""Rank 0's observer for MLflow: first the journal, whose copy travels inside each checkpoint, then what is sent."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from yolab.tracking import mlflow_runs, run_log
from yolab.tracking.journal import FILE_NAME, Flusher, Journal
from yolab.training.reporter import Observer

PATIENCE_SECONDS = 20.0


class Tracking(Observer):
    """Writes a run's metrics to its journal and sends them, and the run's files, to MLflow. Without a flusher nothing
    is sent."""

    def __init__(self, journal: Journal, flusher: Flusher | None) -> None:
        self.journal, self.flusher = journal, flusher

    def restored(self, checkpoint: Path | None) -> None:
        self.journal.restore(checkpoint)
        if self.flusher:
            self.flusher.wake()  # what the killed process could not send any more

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        run_log.say_epoch(epoch, metrics)  # now: a trial that its scheduler stops is ended as soon as this is durable
        self.journal.append(epoch, metrics)
        if checkpoint is not None:
            self.journal.copy_into(checkpoint)

    def epoch_saved(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if self.flusher:
            self.flusher.wake()

    def file_kept(self, path: Path, under: str) -> None:
        if self.flusher:
            self.flusher.send(path, under)


@contextmanager
def tracked(folder: Path, uri: str, run_id: str, scratch: Path) -> Iterator[Tracking]:
    """Give the observer that tracks a run in MLflow run `run_id`, with the machine's load; its journal is in `scratch`.

    What the run says is logged in its `folder`. On leaving, also by an error, the rest is sent for up to 20 seconds;
    what MLflow didn't take stays in the journal.
    """
    journal = Journal(scratch / FILE_NAME)
    flusher = Flusher(journal, uri, run_id)
    with mlflow_runs.system_metrics(uri, run_id):
        try:
            with run_log.written(folder):
                yield Tracking(journal, flusher)
        finally:
            flusher.send(folder / run_log.FILE_NAME, "")
            flusher.close(PATIENCE_SECONDS)
