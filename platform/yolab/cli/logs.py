"""yolab logs: what a run says, or said."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from yolab.errors import UsageError

_LOOK_SECONDS = 1.0


def logs(
    run: Annotated[str, typer.Argument(help="A run of yolab train, or SWEEP/TRIAL, or an MLflow id.")],
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    uri: Annotated[
        str | None, typer.Option(help="Of MLflow; default: MLFLOW_TRACKING_URI, else the file in home.")
    ] = None,
) -> None:
    """Print what a run logs, and follow it until it ends; a finished run's whole log.

    Example: yolab logs bccd-scaling/trial-003
    """
    from yolab.tracking import mlflow_runs, record
    from yolab.tracking.run_log import FILE_NAME

    where = uri or mlflow_runs.default_uri(home)
    found = record.any_run(where, run)
    own = home / record.place_of(found) / FILE_NAME
    if not own.exists():
        _print_kept(where, found["run_id"], run)
        return
    with own.open() as file:
        while True:
            ended = record.any_run(where, found["run_id"])["end_time"] is not None  # asked before the last look
            print(file.read(), end="", flush=True)
            if ended:
                return
            time.sleep(_LOOK_SECONDS)


def _print_kept(uri: str, run_id: str, name: str) -> None:
    """Print the log that MLflow has of a run that was elsewhere."""
    from yolab.tracking import mlflow_runs
    from yolab.tracking.run_log import FILE_NAME

    with tempfile.TemporaryDirectory() as scratch:
        path = mlflow_runs.fetch(uri, run_id, FILE_NAME, Path(scratch))
        if path is None:
            raise UsageError(f"There is no log of {name} yet: its home may be another one (--home).")
        print(path.read_text(), end="")
