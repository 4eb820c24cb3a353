"""What a run has measured, first on disk, then in MLflow.

The journal is the truth: MLflow may be away for as long as it likes, and gets every point once, with its original time.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from mlflow.entities import Metric

from yolab.storage import Folder, Storage
from yolab.storage.checkpoints import DamagedCheckpointError
from yolab.storage.document import FORMAT, check_version
from yolab.tracking import metric_names
from yolab.tracking.mlflow_runs import client, in_words

FILE_NAME = "journal.jsonl"
_VERSION = 1
POINTS_PER_CALL = 1000  # MLflow's limit


class Entry(TypedDict):
    """The metrics of one epoch (counted from 1), measured at `time_ms` since 1970."""

    time_ms: int
    epoch: int
    metrics: dict[str, float]


def send_entries(entries: Sequence[Entry], uri: str, run_id: str) -> int:
    """Send to an MLflow run what it doesn't have yet, as points at step = epoch; return how many points were sent.

    Entries must come in order, so a metric's last step in MLflow tells that all earlier ones are there too. A repeated
    epoch is left out even though its time differs: its values are equal, because resuming is exact.
    Raises YolabError if MLflow doesn't take them; sending again is then right, whether or not they had arrived.
    """
    if not entries:
        return 0
    with in_words(uri):
        return _send(entries, client(uri), run_id)


def _send(entries: Sequence[Entry], mlflow: Any, run_id: str) -> int:
    # The public RunData.metrics has no steps, and one history a metric would be a request each.
    last_step = {metric.key: metric.step for metric in mlflow.get_run(run_id).data._metric_objs}
    points = []
    for entry in entries:
        for name, value in entry["metrics"].items():
            key = metric_names.in_mlflow(name)
            if entry["epoch"] > last_step.get(key, -1):
                points.append(Metric(key, value, entry["time_ms"], entry["epoch"]))
    for start in range(0, len(points), POINTS_PER_CALL):
        mlflow.log_batch(run_id, metrics=points[start : start + POINTS_PER_CALL], synchronous=True)
    return len(points)


def read_entries(path: Path) -> list[Entry]:
    """Return the whole entries of a journal's file, oldest first, without touching it; none if it isn't there."""
    return entries_in(Folder(path.parent), path.name)


def entries_in(place: Storage, name: str = FILE_NAME) -> list[Entry]:
    """Return the whole entries of a journal in the storage, oldest first; none if it isn't there."""
    try:
        return _read(place.read(name), str(place / name))[1]
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
            whole, _ = _read(path.read_bytes(), str(path))
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
        if content and _read(content, str(copy))[0] < len(content):
            raise DamagedCheckpointError(f"{copy} is damaged: it has lines that are no entries.")
        incoming.write_bytes(content)
        with incoming.open("rb") as file:
            os.fsync(file.fileno())
        incoming.rename(self.path)


def _read(content: bytes, where: str) -> tuple[int, list[Entry]]:
    """Return the length in bytes of the whole lines at the beginning of a file, and their entries."""
    length, entries = 0, []
    for line in content.splitlines(keepends=True):
        entry = _parse(line)
        if entry is None:
            break
        if FORMAT in entry:
            check_version(entry[FORMAT], _VERSION, where)
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
