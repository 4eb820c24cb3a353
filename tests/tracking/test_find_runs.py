"""Runs, sweeps and tables by what people call them."""

import json

import pytest

from yolab.errors import UsageError
from yolab.experiment import build
from yolab.search.preparation import within
from yolab.search.search_space import parse
from yolab.search.trial import TrialState
from yolab.tracking import find_runs, mlflow_runs

POINT = {"recipe.patience": None, "model.scale": {"depth": 1.5, "width": 0.5}, "assigner.top_k": 12, "seed": "7"}


def swept(uri: str, tags: dict[str, str]) -> None:
    """Record a sweep of one trial that ended well and one that failed."""
    parent = mlflow_runs.open_run(uri, "tests", "search", "s", params={}, tags={"yolab.kind": "sweep"})
    for name, state in (("trial-000", TrialState.STOPPED_EARLY), ("trial-001", TrialState.FAILED)):
        of_trial = {"yolab.kind": "trial", **tags}
        run = mlflow_runs.open_run(
            uri, "tests", name, f"s/{name}", params={"gflops": 2.5}, tags=of_trial, parent_id=parent
        )
        mlflow_runs.finish_run(uri, run, state, {"ap": 0.3, "loss": 1.0})


def test_the_trials_of_a_sweep_are_told_with_their_points_as_they_were(mlflow_uri: str) -> None:
    swept(mlflow_uri, {"yolab.point": json.dumps(POINT)})
    [row] = find_runs.rows_of(mlflow_uri, "search")
    assert row == {"trial": "trial-000", "state": "finished", "point": POINT, "ap": 0.3, "gflops": 2.5}
    base = build({"name": "test"}, {}, "test")
    space = parse({"recipe.patience": {"choice": [None, 5]}, "recipe.optimiser.lr": {"choice": [0.1]}}, base, "space")
    assert within(space, [row]) == ({**row, "point": {"recipe.patience": None}},)


@pytest.mark.parametrize("tags", [{}, {"yolab.point": '{"recipe.pati … (cut)'}])
def test_a_sweep_that_kept_no_points_is_refused_to_learn_from(mlflow_uri: str, tags: dict[str, str]) -> None:
    swept(mlflow_uri, tags)
    with pytest.raises(UsageError, match="has no point, or a cut one"):
        find_runs.rows_of(mlflow_uri, "search")
