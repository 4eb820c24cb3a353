"""Rank 0's Reporter with tracking around another one: first the journal, then the durable checkpoint, then MLflow."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from yolab.tracking import mlflow_runs, run_log
from yolab.tracking.journal import FILE_NAME, Flusher, Journal
from yolab.training.reporter import Reporter

PATIENCE_SECONDS = 20.0


class TrackedReporter:
    """A Reporter that also writes a journal, whose copy travels inside each checkpoint, and sends it to MLflow.

    Without a flusher nothing is sent.
    """

    def __init__(self, inner: Reporter, journal: Journal, flusher: Flusher | None) -> None:
        self.inner, self.journal, self.flusher, self.folder = inner, journal, flusher, inner.folder

    def restore(self) -> Path | None:
        """Return the last durable checkpoint; the journal goes back to it."""
        checkpoint = self.inner.restore()
        self.journal.restore(checkpoint)
        if self.flusher:
            self.flusher.wake()  # what the killed process could not send any more
        return checkpoint

    def report(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        self.journal.append(epoch, metrics)
        if checkpoint is not None:
            self.journal.copy_into(checkpoint)
        self.inner.report(epoch, metrics, checkpoint)
        run_log.say_epoch(epoch, metrics)
        if self.flusher:
            self.flusher.wake()

    def should_stop(self) -> bool:
        return self.inner.should_stop()

    def save_artifact(self, path: Path, under: str = "") -> Path:
        """Keep the file with the inner reporter; from there it is sent to MLflow."""
        kept = self.inner.save_artifact(path, under)
        if self.flusher:
            self.flusher.send(kept, under)
        return kept


@contextmanager
def tracked(inner: Reporter, uri: str, run_id: str, folder: Path) -> Iterator[TrackedReporter]:
    """Give rank 0 a reporter that tracks in MLflow run `run_id`, with the machine's load, and a journal in `folder`.

    What it says is logged in the inner reporter's folder. On leaving, also by an error, the rest is sent for up to 20
    seconds; what MLflow didn't take stays in the journal.
    """
    journal = Journal(folder / FILE_NAME)
    flusher = Flusher(journal, uri, run_id)
    with mlflow_runs.system_metrics(uri, run_id):
        try:
            with run_log.written(inner.folder):
                yield TrackedReporter(inner, journal, flusher)
        finally:
            flusher.send(inner.folder / run_log.FILE_NAME, "")
            flusher.close(PATIENCE_SECONDS)
