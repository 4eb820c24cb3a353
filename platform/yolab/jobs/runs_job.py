"""What MLflow knows of runs and trials."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from yolab.errors import UsageError
from yolab.experiment import did_you_mean
from yolab.jobs.result import Result
from yolab.jobs.session import Session
from yolab.search.trial import TrialState
from yolab.tracking import find_runs, metric_names, mlflow_runs, mlflow_uri, runs_frame
from yolab.tracking.tags import DIGEST_TAG


class RunLine(NamedTuple):
    """A run in a list, a trial as SWEEP/TRIAL: its scores as fractions; `seconds` that a trial worked, and from a
    run's first begin to its last end, None while it runs."""

    name: str
    state: str
    ap: float | None
    ap50: float | None
    started: datetime
    seconds: float | None
    model: str | None
    digest: str | None


@dataclass(frozen=True)
class Runs(Result):
    """Runs as `mlflow_runs.list_runs` describes them, trials called SWEEP/TRIAL, of the MLflow at `uri` (without its
    password); `exported`: the file that they were written to."""

    uri: str
    found: tuple[dict[str, Any], ...]
    exported: Path | None = None

    def frame(self) -> pd.DataFrame:
        """Return a row for each run, with a column for each of its parameters, metrics and tags."""
        return runs_frame.frame(self.found)

    def lines(self) -> list[RunLine]:
        """Return what a list shows of each run."""
        return [_line(run) for run in self.found]

    def document(self) -> list[dict[str, Any]]:
        return list(self.found)


def runs(
    *,
    experiment: str | None = None,
    sweep: str | None = None,
    where: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
    export: str | Path | None = None,
    storage: str | Path | None = None,
    uri: str | None = None,
) -> Runs:
    """Return runs, the newest first: all, or those of an MLflow experiment, of a sweep, or that MLflow's filter `where`
    passes. `sort`: by a metric or parameter, the largest first and those without it last; `limit`: so many at most.
    `export`: write them to this .parquet or .csv file, with all parameters, metrics and tags.

    Raises UsageError for a name, a filter or a file's ending that can't be, YolabError if MLflow can't be used.
    """
    place = Session.at(storage, uri).uri
    parent = find_runs.sweep_run(place, sweep, experiment)["run_id"] if sweep else None
    listed = mlflow_runs.list_runs(place, experiment, parent, where=where)
    found = _sorted([{**run, "name": find_runs.place_of(run)} for run in listed], sort)[:limit]
    if export:
        runs_frame.export(found, Path(export))
    return Runs(mlflow_uri.without_password(place), tuple(found), Path(export) if export else None)


def _sorted(found: list[dict[str, Any]], name: str | None) -> list[dict[str, Any]]:
    """Return runs by a metric or parameter that is a number, the largest first. Raises UsageError if none has it."""
    if name is None or not found:
        return found
    name = metric_names.short(name)
    values = {run["run_id"]: _number(run, name) for run in found}
    if all(value == -math.inf for value in values.values()):
        known = sorted({key for run in found for key in (*run["metrics"], *run["params"])})
        raise UsageError(f"--sort: no run has a number called {name}.{did_you_mean(name, known)}")
    return sorted(found, key=lambda run: values[run["run_id"]], reverse=True)


def _number(run: Mapping[str, Any], name: str) -> float:
    try:
        value = float(run["metrics"].get(name, run["params"].get(name)))
    except (TypeError, ValueError):
        return -math.inf
    return -math.inf if math.isnan(value) else value


def _line(run: Mapping[str, Any]) -> RunLine:
    started, ended, tags = run["start_time"], run["end_time"], run["tags"]
    return RunLine(
        name=run["name"],
        state=tags.get(mlflow_runs.STATE_TAG, run["status"].lower()) if ended else TrialState.RUNNING,
        ap=run["metrics"].get("ap"),
        ap50=run["metrics"].get("ap50"),
        started=datetime.fromtimestamp(started / 1000),
        seconds=run["metrics"].get("trial_seconds", (ended - started) / 1000) if ended else None,
        model=run["params"].get("model.name"),
        digest=tags.get(DIGEST_TAG),
    )
