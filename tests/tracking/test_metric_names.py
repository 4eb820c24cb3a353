"""What metrics are called in MLflow and elsewhere: two names of one number, and the runs of an earlier yolab, too."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric

from yolab.search.trial import TrialState
from yolab.tracking import metric_names, mlflow_runs
from yolab.training.stopwatch import PHASES


@pytest.mark.parametrize(
    ("name", "in_mlflow"),
    [
        ("ap", "val/ap"),
        ("ap_small", "val/ap_small"),
        ("loss", "loss/total"),
        ("loss_box", "loss/box"),
        ("params", "model/params"),
        ("epoch_seconds", "time/epoch"),
        *((f"step_{phase}_seconds", f"time/{phase}") for phase in PHASES),
        ("ap/cat", "ap/cat"),
        ("system/cpu", "system/cpu"),
    ],
)
def test_a_metric_is_in_a_group_of_mlflows_page_and_has_its_short_name_elsewhere(name: str, in_mlflow: str) -> None:
    assert metric_names.in_mlflow(name) == in_mlflow
    assert metric_names.short(in_mlflow) == name
    assert metric_names.short(name) == name


@pytest.mark.parametrize(
    ("where", "filters"),
    [
        ("metrics.ap > 0.3", ["metrics.`val/ap` > 0.3", "metrics.`ap` > 0.3"]),
        ("metrics.`val/ap` > 0.3", ["metrics.`val/ap` > 0.3", "metrics.`ap` > 0.3"]),
        ('metric."ap" > 0.3 and metrics.loss < 1', ["metric.`val/ap` > 0.3 and metrics.`loss/total` < 1",
                                                    "metric.`ap` > 0.3 and metrics.`loss` < 1"]),
        ("metrics.`ap/cat` > 0.3", ["metrics.`ap/cat` > 0.3"]),
        ("tags.note = 'metrics.ap' and params.ap = 'x'", ["tags.note = 'metrics.ap' and params.ap = 'x'"]),
    ],
)  # fmt: skip
def test_a_filter_asks_for_both_names_and_leaves_texts_alone(where: str, filters: list[str]) -> None:
    assert metric_names.filters(where) == filters


def test_runs_that_an_earlier_yolab_logged_are_found_and_read_as_those_of_today(mlflow_uri: str) -> None:
    for name, ap in (("today", 0.25), ("low", 0.1)):
        run_id = mlflow_runs.open_run(mlflow_uri, "cells", name, name, params={}, tags={}, metrics={"params": 7})
        mlflow_runs.finish_run(mlflow_uri, run_id, TrialState.FINISHED, {"ap": ap})
    earlier = mlflow_runs.open_run(mlflow_uri, "cells", "earlier", "earlier", params={"params": 7}, tags={})
    mlflow_runs.client(mlflow_uri).log_metric(earlier, "ap", 0.5, step=3)
    for where in ("metrics.ap > 0.2", "metrics.`val/ap` > 0.2"):
        found = mlflow_runs.list_runs(mlflow_uri, where=where)
        assert [(run["name"], run["metrics"]) for run in found] == [
            ("earlier", {"ap": 0.5, "params": 7}),
            ("today", {"ap": 0.25, "params": 7}),
        ]
    assert mlflow_runs.last_step(mlflow_uri, earlier, "ap") == 3


@given(names=st.lists(st.text(max_size=300), unique=True))
@example(names=["tv+monitor", "tv_monitor", "tv-monitor", "tv/monitor", "a/", "a", "/a", ".", "..", "", "a" * 300])
def test_every_name_of_a_class_is_taken_and_stays_its_own(names: list[str]) -> None:
    taken = [metric_names.in_mlflow(f"ap/{name}") for name in names]
    for name in taken:
        _validate_metric(name, 0.5, 0, 0)
        assert name.startswith("ap/")
    assert len(set(taken)) == len(names)


@pytest.mark.parametrize("name", ["ap/cat", "ap/traffic light", "ap/N/A", "system/cpu", "val/ap", "ap/Größe"])
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    assert metric_names.in_mlflow(name) == name
