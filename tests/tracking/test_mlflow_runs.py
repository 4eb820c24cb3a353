import time
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from yolab.errors import UsageError, YolabError
from yolab.experiment import Experiment, build
from yolab.search.trial import TrialState
from yolab.storage import Folder, storage_at
from yolab.tracking import mlflow_runs, mlflow_uri


def experiment(**changes: Any) -> Experiment:
    return build({"name": "a-run"}, changes, source="test")


def test_the_uri_is_the_experiments_own_then_the_environments_then_a_file_in_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "runs"

    def uri_of(described: Experiment) -> str:
        return mlflow_uri.tracking_uri(described, lambda: mlflow_uri.default_uri(Folder(storage)))

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert uri_of(experiment()) == f"sqlite:///{storage}/mlflow.db"
    assert storage.is_dir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert uri_of(experiment()) == "http://server:5000"
    assert uri_of(experiment(**{"tracking.uri": "http://own:1"})) == "http://own:1"


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert mlflow_uri.default_uri(storage_at("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    own = experiment(**{"tracking.uri": "sqlite:///own.db"})
    assert mlflow_uri.tracking_uri(own, lambda: "http://server:5000") == f"sqlite:///{tmp_path}/own.db"


def test_one_key_is_one_run_however_often_it_is_opened(mlflow_uri: str) -> None:
    def open_run(key: str) -> str:
        return mlflow_runs.open_run(
            mlflow_uri, "tests", "a-run", key, params={"seed": 0, "none": None}, tags={"t": "1"}
        )

    first = open_run("k1")
    mlflow_runs.finish_run(mlflow_uri, first, TrialState.FAILED)
    assert open_run("k1") == first
    assert open_run("k2") != first
    found = {run["run_id"]: run for run in mlflow_runs.list_runs(mlflow_uri)}
    assert len(found) == 2
    assert (found[first]["status"], found[first]["end_time"]) == ("RUNNING", None)
    assert found[first]["params"] == {"seed": "0", "none": "None"}


def test_a_deleted_run_is_not_reused(mlflow_uri: str, run_id: str) -> None:
    mlflow_runs.client(mlflow_uri).delete_run(run_id)
    assert mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params={}, tags={}) != run_id


def test_all_parameters_of_an_experiment_are_logged_and_more_than_one_call_takes(mlflow_uri: str) -> None:
    params = experiment().flat() | {f"extra.{index}": index for index in range(150)}
    mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params=params, tags={})
    [run] = mlflow_runs.list_runs(mlflow_uri)
    assert run["params"] == {name: str(value) for name, value in params.items()}


def test_a_resumed_run_keeps_its_first_parameters(mlflow_uri: str) -> None:
    for workers in (1, 2):
        params = {"compute.workers": workers, f"new.{workers}": 1}
        mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params=params, tags={})
    [run] = mlflow_runs.list_runs(mlflow_uri)
    assert run["params"] == {"compute.workers": "1", "new.1": "1", "new.2": "1"}


def test_a_deleted_experiment_is_named_with_the_way_out(mlflow_uri: str, run_id: str) -> None:
    mlflow = mlflow_runs.client(mlflow_uri)
    mlflow.delete_experiment(mlflow.get_experiment_by_name("tests").experiment_id)
    with pytest.raises(UsageError, match="was deleted"):
        mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params={}, tags={})


def test_artifacts_lie_next_to_the_sqlite_file(mlflow_uri: str, run_id: str, tmp_path: Path) -> None:
    file = tmp_path / "curve.json"
    file.write_text("{}")
    mlflow_runs.log_artifact(mlflow_uri, run_id, file, "figures")
    where = Path(urlparse(mlflow_runs.client(mlflow_uri).get_run(run_id).info.artifact_uri).path)
    assert where.is_relative_to(tmp_path / "runs" / "artifacts")
    assert (where / "figures" / "curve.json").read_text() == "{}"


def test_finishing_sets_status_metrics_and_tags_and_twice_is_harmless(mlflow_uri: str, run_id: str) -> None:
    for _ in range(2):
        mlflow_runs.finish_run(
            mlflow_uri, run_id, TrialState.FINISHED, metrics={"best/AP": 0.5}, tags={"verdict": "good"}
        )
    [run] = mlflow_runs.list_runs(mlflow_uri)
    assert (run["status"], run["metrics"], run["tags"]["verdict"]) == ("FINISHED", {"best/AP": 0.5}, "good")
    assert run["tags"]["yolab.state"] == "finished"
    assert len(mlflow_runs.client(mlflow_uri).get_metric_history(run_id, "best/AP")) == 1


def test_runs_are_listed_with_exactly_these_keys_and_narrowed(mlflow_uri: str) -> None:
    parent = mlflow_runs.open_run(mlflow_uri, "one", "sweep", "p", params={}, tags={})
    child = mlflow_runs.open_run(mlflow_uri, "one", "trial", "c", parent_id=parent, params={}, tags={"a": "b"})
    mlflow_runs.open_run(mlflow_uri, "two", "trial", "o", params={}, tags={})
    assert len(mlflow_runs.list_runs(mlflow_uri)) == 3
    [run] = mlflow_runs.list_runs(mlflow_uri, parent=parent)
    assert ", ".join(run) == "name, run_id, experiment, status, params, metrics, tags, start_time, end_time, parent_id"
    assert (run["name"], run["run_id"], run["experiment"], run["parent_id"]) == ("trial", child, "one", parent)
    assert run["tags"]["a"] == "b"
    assert {run["experiment"] for run in mlflow_runs.list_runs(mlflow_uri, where="attributes.run_name = 'trial'")} == {
        "one",
        "two",
    }
    assert [run["name"] for run in mlflow_runs.list_runs(mlflow_uri, experiment="two")] == ["trial"]
    with pytest.raises(UsageError, match="Did you mean two"):
        mlflow_runs.list_runs(mlflow_uri, experiment="twoo")


def test_listing_reads_all_pages(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_runs, "RUNS_PER_PAGE", 2)
    for index in range(5):
        mlflow_runs.open_run(mlflow_uri, f"experiment-{index % 3}", f"run-{index}", str(index), params={}, tags={})
    assert sorted(run["name"] for run in mlflow_runs.list_runs(mlflow_uri)) == [f"run-{index}" for index in range(5)]


def test_listing_before_the_first_run_makes_no_database(tmp_path: Path) -> None:
    assert mlflow_runs.list_runs(f"sqlite:///{tmp_path}/mlflow.db") == []
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_away_is_told_in_one_sentence_without_the_password(away_uri: str) -> None:
    uri = away_uri.replace("//", "//user:secret@")
    start = time.monotonic()
    with pytest.raises(YolabError, match="can't be used") as caught:
        mlflow_runs.open_run(uri, "tests", "a-run", "key", params={}, tags={})
    assert time.monotonic() - start < 15
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_short_run_has_system_metrics_and_a_resumed_one_goes_on_counting(
    mlflow_uri: str, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_runs, "SAMPLING_SECONDS", 0.2)
    mlflow = mlflow_runs.client(mlflow_uri)
    key = "system/cpu_utilization_percentage"
    for wanted in (2, 4):
        deadline = time.monotonic() + 20
        with mlflow_runs.system_metrics(mlflow_uri, lambda: run_id):
            while len(mlflow.get_metric_history(run_id, key)) < wanted and time.monotonic() < deadline:
                time.sleep(0.05)
    steps = [metric.step for metric in mlflow.get_metric_history(run_id, key)]
    assert len(steps) >= 4
    assert steps == list(range(len(steps)))


def test_system_metrics_neither_fail_nor_block_without_a_server(away_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_runs, "SAMPLING_SECONDS", 0.5)
    start = time.monotonic()
    with mlflow_runs.system_metrics(away_uri, lambda: "no-run"):
        time.sleep(0.2)
    assert time.monotonic() - start < 2


def test_a_parameter_that_is_too_long_is_cut_and_says_so(mlflow_uri: str) -> None:
    mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params={"long": "x" * 7000}, tags={})
    [run] = mlflow_runs.list_runs(mlflow_uri)
    assert run["params"]["long"] == "x" * 5992 + " … (cut)"
