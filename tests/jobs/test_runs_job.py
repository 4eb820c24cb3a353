from pathlib import Path

import pytest

from yolab.errors import UsageError
from yolab.jobs import logs_job, runs_job
from yolab.search.trial import TrialState
from yolab.tracking import mlflow_runs
from yolab.tracking.tags import KIND_TAG


@pytest.fixture
def storage(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage with one ended run, that scored 0.25, and one that has begun."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, ap in (("ended", 0.25), ("begun", None)):
        run_id = mlflow_runs.open_run(mlflow_uri, "cells", name, name, params={"seed": 0}, tags={})
        if ap is not None:
            mlflow_runs.finish_run(mlflow_uri, run_id, TrialState.FINISHED, {"ap": ap})
    return Path(mlflow_uri.removeprefix("sqlite:///")).parent


def test_runs_are_lines_and_a_frame_and_nothing_is_printed(storage: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = runs_job.runs(storage=storage)
    assert [(line.name, line.state, line.ap) for line in found.lines()] == [
        ("begun", "running", None),
        ("ended", "finished", 0.25),
    ]
    assert list(found.frame()["metrics.ap"].dropna()) == [0.25]
    assert [run["name"] for run in found.document()] == ["begun", "ended"]
    assert capfd.readouterr() == ("", "")


def test_a_log_is_followed_until_its_run_ends(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = storage / "begun" / "log.txt"
    log.parent.mkdir()
    log.write_text("begins\n")
    uri = f"sqlite:///{storage}/mlflow.db"
    [run_id] = [run["run_id"] for run in mlflow_runs.list_runs(uri) if run["name"] == "begun"]

    def ends_meanwhile(_: float) -> None:
        log.write_text("begins\nends\n")
        mlflow_runs.finish_run(uri, run_id, TrialState.FINISHED)

    monkeypatch.setattr("yolab.jobs.logs_job.time.sleep", ends_meanwhile)
    assert list(logs_job.logs("begun", storage=storage)) == ["begins\n", "ends\n"]
    with pytest.raises(UsageError, match="begunn is not there"):
        next(logs_job.logs("begunn", storage=storage))


def test_a_sweep_has_no_log_but_its_trials_have(storage: Path) -> None:
    tags = {KIND_TAG: "sweep"}
    mlflow_runs.open_run(f"sqlite:///{storage}/mlflow.db", "cells", "search", "search", params={}, tags=tags)
    with pytest.raises(UsageError, match=r"search is a sweep: its runs have logs, search/NAME\."):
        next(logs_job.logs("search", storage=storage))
