"""What a run has measured, first on disk, then in MLflow: a journal, and a thread that sends it.

The journal is the truth: MLflow may be away for as long as it likes, and gets every point once, with its original time.
"""

import json
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from mlflow.entities import Metric

from yolab.storage.document import FORMAT, check_version
from yolab.tracking.mlflow_runs import allowed_name, client, log_artifact
from yolab.training.reporter import DamagedCheckpointError

FILE_NAME = "journal.jsonl"
_VERSION = 1
POINTS_PER_CALL = 1000  # MLflow's limit
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0

logger = logging.getLogger(__name__)


class Entry(TypedDict):
    """The metrics of one epoch (counted from 1), measured at `time_ms` since 1970."""

    time_ms: int
    epoch: int
    metrics: dict[str, float]


def send_entries(entries: Sequence[Entry], uri: str, run_id: str) -> int:
    """Send to an MLflow run what it doesn't have yet, as points at step = epoch; return how many points were sent.

    Entries must come in order, so a metric's last step in MLflow tells that all earlier ones are there too. A repeated
    epoch is left out even though its time differs: its values are equal, because resuming is exact.
    Raises whatever MLflow raises; sending again is then right, whether or not the points had arrived.
    """
    if not entries:
        return 0
    mlflow = client(uri)
    # The public RunData.metrics has no steps, and one history a metric would be a request each.
    last_step = {metric.key: metric.step for metric in mlflow.get_run(run_id).data._metric_objs}
    points = []
    for entry in entries:
        for name, value in entry["metrics"].items():
            key = allowed_name(name)
            if entry["epoch"] > last_step.get(key, -1):
                points.append(Metric(key, value, entry["time_ms"], entry["epoch"]))
    for start in range(0, len(points), POINTS_PER_CALL):
        mlflow.log_batch(run_id, metrics=points[start : start + POINTS_PER_CALL], synchronous=True)
    return len(points)


def read_entries(path: Path) -> list[Entry]:
    """Return the whole entries of a journal's file, oldest first, without touching it; none if it isn't there."""
    try:
        return _read(path)[1]
    except FileNotFoundError:
        return []


class Journal:
    """An append-only file of one JSON line an epoch, written by rank 0; NaN and infinities survive.

    A last line torn by a kill or by a full disk is cut when the file is opened. Not for two writers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            whole, _ = _read(path)
            os.truncate(path, whole)

    def append(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of an epoch; on return they are on disk."""
        values = {name: float(value) for name, value in metrics.items()}
        begins = not self.path.exists() or not self.path.stat().st_size
        header = json.dumps({FORMAT: _VERSION}) + "\n" if begins else ""
        line = json.dumps({"time_ms": time.time_ns() // 1_000_000, "epoch": epoch, "metrics": values})
        with self.path.open("a") as file:
            file.write(header + line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """Return all entries, oldest first; a line that is just being written doesn't count yet."""
        return read_entries(self.path)

    def copy_into(self, folder: Path) -> None:
        """Put a copy into the folder of a checkpoint that is about to become durable."""
        if self.path.exists():
            shutil.copyfile(self.path, folder / FILE_NAME)

    def restore(self, folder: Path | None) -> None:
        """Go back to the copy in the folder of a checkpoint; None, or no copy in it, empties the journal.

        Steps beyond the checkpoint are about to be repeated, so they are discarded here. Raises
        DamagedCheckpointError if the copy isn't whole.
        """
        incoming = self.path.with_suffix(".incoming")
        copy = folder / FILE_NAME if folder else None
        content = copy.read_bytes() if copy and copy.exists() else b""
        if copy and content and _read(copy)[0] < len(content):
            raise DamagedCheckpointError(f"{copy} is damaged: it has lines that are no entries.")
        incoming.write_bytes(content)
        with incoming.open("rb") as file:
            os.fsync(file.fileno())
        incoming.rename(self.path)


class Flusher:
    """A daemon thread that sends a journal, and files, to MLflow run `run_id` and never blocks or fails the training.

    It starts at the first `wake`, so restore the journal before. If MLflow is away it tries again: after 1, 2, … 30 s.
    """

    def __init__(self, journal: Journal, uri: str, run_id: str) -> None:
        self._journal, self.uri, self.run_id = journal, uri, run_id
        self._sent = 0
        self._files: deque[tuple[Path, str]] = deque()
        self._pending = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._work, name="yolab-flusher", daemon=True)
        self._started = False

    def wake(self) -> None:
        """Say that the journal has grown; returns at once."""
        self._pending.set()
        if not self._started:
            self._started = True
            self._thread.start()

    def send(self, path: Path, under: str) -> None:
        """Send a file, which stays where it is, to a folder of the run's artifacts; returns at once."""
        self._files.append((path, under))
        self.wake()

    def close(self, patience_seconds: float) -> bool:
        """Send the rest, for at most so long; return whether all is in MLflow. If not, one warning says what to do."""
        self._deadline = time.monotonic() + patience_seconds
        self._closing.set()
        self.wake()
        self._thread.join(patience_seconds)
        left = len(self._journal.entries()) - self._sent
        if left:
            logger.warning(
                "MLflow lacks the metrics of %d epochs: they are safe in %s, and resuming the run delivers them.",
                left,
                self._journal.path,
            )
        files = list(self._files)
        if files:
            logger.warning("MLflow lacks %d files of the run, such as %s, which stay there.", len(files), files[0][0])
        return not left and not files

    def _work(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._pending.wait()
            closing = self._closing.is_set()  # asked before the work: what is appended before `close` must be sent
            self._pending.clear()
            failure = self._flush()
            if failure is None:
                pause = FIRST_PAUSE_SECONDS
                if closing:
                    return
                continue
            if pause == FIRST_PAUSE_SECONDS and not closing:
                logger.warning("MLflow is away (%s). The training goes on, what it lacks is sent later.", failure)
            if time.monotonic() > self._deadline:
                return
            self._pending.set()
            if closing:
                time.sleep(FIRST_PAUSE_SECONDS)
            else:
                self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _flush(self) -> str | None:
        """Send what is new; return what went wrong, if anything."""
        try:
            entries = self._journal.entries()
            send_entries(entries[self._sent :], self.uri, self.run_id)
            self._sent = len(entries)
            while self._files:
                path, under = self._files[0]
                if not path.exists():
                    logger.warning("%s was removed before MLflow had it.", path)
                    self._files.popleft()
                    continue
                log_artifact(self.uri, self.run_id, path, under or None)
                self._files.popleft()
        except Exception as error:  # whatever it is, the training must not hear of it
            return str(error).split("\n")[0][:200]
        return None


def _read(path: Path) -> tuple[int, list[Entry]]:
    """Return the length in bytes of the whole lines at the beginning of the file, and their entries."""
    length, entries = 0, []
    for line in path.read_bytes().splitlines(keepends=True):
        entry = _parse(line)
        if entry is None:
            break
        if FORMAT in entry:
            check_version(entry[FORMAT], _VERSION, str(path))
        else:
            entries.append(entry)
        length += len(line)
    return length, entries


def _parse(line: bytes) -> Any:
    """Return what a whole line holds, a version or an entry; None if it is neither."""
    try:
        found = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    numbers, metrics = [found.get("time_ms"), found.get("epoch")], found.get("metrics")
    entry = isinstance(metrics, dict) and all(
        isinstance(value, (int, float)) for value in [*numbers, *metrics.values()]
    )
    return found if entry or FORMAT in found else None
