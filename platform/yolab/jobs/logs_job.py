"""What a run says, or said."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from yolab.errors import UsageError
from yolab.jobs.session import Session
from yolab.tracking import find_runs, mlflow_runs
from yolab.tracking.run_log import FILE_NAME
from yolab.tracking.tags import KIND_TAG, PARENTS

_LOOK_SECONDS = 1.0


def logs(run: str, *, storage: str | Path | None = None, uri: str | None = None) -> Iterator[str]:
    """Yield what a run (its name, SWEEP/TRIAL, or its MLflow id) logs, piece by piece as it comes, until it ends; of
    one that was elsewhere, the log that MLflow has. Raises UsageError at the first piece if there is no such run or
    log."""
    session = Session.at(storage, uri)
    found = find_runs.any_run(session.uri, run)
    kind = found["tags"].get(KIND_TAG)
    if kind in PARENTS:
        raise UsageError(f"{run} is a {kind}: its runs have logs, {run}/NAME. `yolab runs --sweep {run}` lists them.")
    place, read = session.storage / find_runs.place_of(found), 0
    if not place.exists(FILE_NAME):
        yield _kept(session.uri, found["run_id"], run)
        return
    while True:
        # asked before the last look
        ended = mlflow_runs.has_ended(session.uri, found["run_id"])
        piece = place.read(FILE_NAME, read)
        if piece:
            read += len(piece)
            yield piece.decode(errors="replace")
        if ended:
            return
        time.sleep(_LOOK_SECONDS)


def _kept(uri: str, run_id: str, name: str) -> str:
    """Return the log that MLflow has of a run that was elsewhere."""
    with tempfile.TemporaryDirectory() as scratch:
        path = mlflow_runs.fetch(uri, run_id, FILE_NAME, Path(scratch))
        if path is None:
            raise UsageError(f"There is no log of {name} yet: it may be kept in another storage (--storage).")
        return path.read_text()
