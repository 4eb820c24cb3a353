"""Finding runs, sweeps and tables in MLflow by what people call them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.experiment import did_you_mean
from yolab.search.schedulers import changes_points
from yolab.search.trial import NAME, OBJECTIVES, POINT, Row, TrialState
from yolab.storage import Storage, is_remote
from yolab.tracking.mlflow_runs import STATE_TAG, list_runs
from yolab.tracking.mlflow_uri import without_password
from yolab.tracking.tags import (
    DIGEST_TAG,
    KIND_TAG,
    PARENTS,
    POINT_TAG,
    RECIPE_TAG,
    SCHEDULER_TAG,
    SWEEP_TAG,
    WEIGHTS_TAG,
)


def called(uri: str, name: str) -> list[dict[str, Any]]:
    """Return the runs, sweeps and tables of that name, or id, or sweep and trial (`scaling/trial-003`), the newest
    first, as `mlflow_runs.list_runs` describes them."""
    return [run for run in list_runs(uri) if name in _names_of(run)]


def sweep_run(uri: str, name: str, experiment: str | None = None) -> dict[str, Any]:
    """Return the newest sweep, or table, of that name, as `mlflow_runs.list_runs` describes it. Raises UsageError with
    the nearest name."""
    parents = [run for run in list_runs(uri, experiment) if run["tags"].get(KIND_TAG) in PARENTS]
    for run in parents:
        if run["name"] == name:
            return run
    where = without_password(uri)
    if not parents:
        raise UsageError(f"MLflow at {where} has no sweep: `yolab sweep` makes one.")
    meant = did_you_mean(name, [run["name"] for run in parents])
    raise UsageError(f"There is no sweep {name!r}.{meant} `yolab runs` lists all.")


def trials_of(uri: str, sweep: str) -> list[dict[str, Any]]:
    """Return the trials of the newest sweep of that name, the newest first. Raises UsageError with the nearest name."""
    return list_runs(uri, parent=sweep_run(uri, sweep)["run_id"])


def rows_of(uri: str, sweep: str) -> list[Row]:
    """Return the trials of the newest sweep of that name that ended well, as rows of a sweep's folder have them: those
    that were stopped early with the AP that they came to. Raises UsageError with the nearest name, or if the sweep's
    points are not kept whole, as those of an earlier yolab's."""
    found = []
    for run in trials_of(uri, sweep):
        known = run["metrics"]
        if run["status"] != TrialState.FINISHED.mlflow_status or "ap" not in known:
            continue
        try:
            point = json.loads(run["tags"][POINT_TAG])
        except (KeyError, ValueError):  # a tag that is too long was cut
            raise UsageError(
                f"Nothing can be learned from {sweep}: {run['name']} has no point, or a cut one."
            ) from None
        scores = {name: known[name] for name in OBJECTIVES if name in known}
        found.append({NAME: run["name"], "state": TrialState.FINISHED, POINT: point} | scores)
    return found


def named_run(uri: str, name: str) -> dict[str, Any]:
    """Return the newest finished run of that name, or id, or sweep and trial (`scaling/trial-003`), as
    `mlflow_runs.list_runs` describes it. Raises UsageError."""
    finished = [run for run in called(uri, name) if WEIGHTS_TAG in run["tags"]]
    if not finished:
        any_run(uri, name)
        raise UsageError(f"The run {name} has not ended with weights yet. `yolab runs` lists what is there.")
    return finished[0]


def any_run(uri: str, name: str) -> dict[str, Any]:
    """Return the newest run of that name, whatever its state, as `named_run` does. Raises UsageError."""
    runs = list_runs(uri)
    for run in runs:
        if name in _names_of(run):
            return run
    meant = did_you_mean(name, map(place_of, runs))
    raise UsageError(
        f"The run {name} is not there in {without_password(uri)}.{meant} `yolab runs` lists what is there."
    )


def _names_of(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what people call a run: its folder, its id, and the name that MLflow's page shows."""
    return str(run["name"]), str(run["run_id"]), place_of(run), run["tags"].get("mlflow.runName", "")


def place_of(run: Mapping[str, Any]) -> str:
    """Return where a run is in the storage: its name, with that of its sweep or table before it."""
    parent = run["tags"].get(SWEEP_TAG)
    return f"{parent}/{run['name']}" if parent else str(run["name"])


def weights_of(run: Mapping[str, Any], storage: Storage) -> str:
    """Return where the weights of a run are that has ended: in the storage, wherever that is now; or, of weights that
    were imported, where they were."""
    where = str(run["tags"][WEIGHTS_TAG])
    return where if is_remote(where) or Path(where).is_absolute() else f"{storage}/{where}"


def runs_of_recipe(uri: str, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all finished runs of a run's recipe, one for each seed, as `mlflow_runs.list_runs` describes them."""
    recipe = run["tags"].get(RECIPE_TAG)
    same = [each for each in finished_by_digest(uri).values() if recipe and each["tags"].get(RECIPE_TAG) == recipe]
    return list({each["params"]["seed"]: each for each in same}.values())


def finished_by_digest(uri: str) -> dict[str, dict[str, Any]]:
    """Return the newest run of each digest that trained to its end, as `mlflow_runs.list_runs` describes it."""
    finished = (
        run
        for run in reversed(list_runs(uri))
        if run["tags"].get(STATE_TAG) == TrialState.FINISHED
        and run["tags"].get(KIND_TAG) in ("train", "trial")
        and not changes_points(run["tags"].get(SCHEDULER_TAG, ""))
    )
    return {run["tags"][DIGEST_TAG]: run for run in finished}
