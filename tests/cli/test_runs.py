import io
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Yolab
from yolab.search.trial import TrialState
from yolab.tracking import mlflow_runs
from yolab.tracking.tags import DIGEST_TAG, KIND_TAG, NAME_TAG, SWEEP_TAG


@pytest.fixture
def storage(mlflow_uri: str) -> Path:
    """A storage with one plain run and one sweep of two trials, all of the experiment "cells"."""

    def run(name: str, kind: str, ap: float | None, parent: str | None = None) -> str:
        params, tags = {"model.name": "yolov7-tiny", "seed": 0}, {KIND_TAG: kind, DIGEST_TAG: f"digest-{name}"}
        run_id = mlflow_runs.open_run(mlflow_uri, "cells", name, name, parent_id=parent, params=params, tags=tags)
        if ap is not None:
            metrics = {"ap": ap, "ap50": 2 * ap, "ap_small": float("nan")}
            mlflow_runs.finish_run(mlflow_uri, run_id, TrialState.FINISHED, metrics)
        return run_id

    run("plain", "train", 0.25)
    sweep = run("search", "sweep", None)
    run("trial-000", "trial", 0.125, sweep)
    run("trial-001", "trial", None, sweep)
    return Path(mlflow_uri.removeprefix("sqlite:///")).parent


def test_json_gives_params_metrics_and_tags_of_every_run_newest_first(yolab: Yolab, storage: Path) -> None:
    answer = yolab("runs", "--storage", storage, "--json")
    assert answer.code == 0
    found = answer.json()
    assert [run["name"] for run in found] == ["trial-001", "trial-000", "search", "plain"]
    plain = found[-1]
    assert plain["params"]["model.name"] == "yolov7-tiny"
    assert plain["metrics"]["ap50"] == 0.5
    assert plain["tags"][DIGEST_TAG] == "digest-plain"


def test_a_sweep_narrows_the_list_to_its_trials(yolab: Yolab, storage: Path) -> None:
    answer = yolab("runs", "--storage", storage, "--experiment", "cells", "--sweep", "search", "--json")
    assert [run["name"] for run in answer.json()] == ["trial-001", "trial-000"]


def test_the_table_shows_state_scores_model_and_digest(yolab: Yolab, storage: Path) -> None:
    lines = {
        line.split()[1]: line for line in yolab("runs", "--storage", storage).out.splitlines() if "digest-" in line
    }
    assert "running" in lines["trial-001"]
    assert all(word in lines["plain"] for word in ("finished", "0.250", "0.500", "yolov7-tiny", "digest-plain"))


def test_the_best_come_first_and_so_many_only(yolab: Yolab, storage: Path) -> None:
    def names(*options: str) -> list[str]:
        return [run["name"] for run in yolab("runs", "--storage", storage, *options, "--json").json()]

    assert names("--sort", "ap") == ["plain", "trial-000", "trial-001", "search"]
    assert names("--sort", "ap", "--limit", "1") == ["plain"]
    assert names("--limit", "2") == ["trial-001", "trial-000"]
    wrong = yolab("runs", "--storage", storage, "--sort", "ap5")
    assert (wrong.code, "Did you mean ap50?" in wrong.err) == (2, True)


def test_wrong_names_are_refused_with_the_nearest_one(yolab: Yolab, storage: Path) -> None:
    wrong_sweep = yolab("runs", "--storage", storage, "--sweep", "serch")
    assert wrong_sweep.code == 2
    assert "Did you mean search?" in wrong_sweep.err
    wrong_experiment = yolab("runs", "--storage", storage, "--experiment", "cell")
    assert wrong_experiment.code == 2
    assert "Did you mean cells?" in wrong_experiment.err


def test_without_a_database_there_are_no_runs_and_none_is_made(yolab: Yolab, tmp_path: Path) -> None:
    answer = yolab("runs", "--storage", tmp_path / "none", "--json")
    assert (answer.code, answer.json()) == (0, [])
    assert not (tmp_path / "none").exists()
    assert yolab("runs", "--storage", tmp_path / "none", "--sweep", "search").code == 2


def test_a_server_that_is_away_is_told_in_words(yolab: Yolab) -> None:
    answer = yolab("runs", "--uri", "http://user:secret@127.0.0.1:9")
    assert (answer.code, answer.out) == (1, "")
    assert "can't be used" in answer.err
    assert "secret" not in answer.err


def test_json_is_alone_on_stdout_of_the_real_command_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "yolab.cli", "runs", "--storage", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_a_run_is_removed_when_it_is_meant(yolab: Yolab, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = yolab("runs", "rm", "plain", "--storage", storage)
    assert (asked.code, "say --yes" in asked.err, asked.out) == (2, True, "")
    gone = yolab("runs", "rm", "plain", "--yes", "--storage", storage, "--json").json()
    assert gone == {"runs": ["plain"], "folders": [], "bytes": 0, "done": True, "uri": f"sqlite:///{storage}/mlflow.db"}
    assert yolab("runs", "rm", "plain", "--yes", "--storage", storage).code == 2


def test_a_filter_that_nothing_passes_is_told_from_an_empty_storage(yolab: Yolab, storage: Path) -> None:
    assert "No run is as asked for." in yolab("runs", "--storage", storage, "--where", "metrics.ap > 0.9").err


def test_an_option_that_a_removal_would_not_hear_of_is_refused(yolab: Yolab, storage: Path) -> None:
    misplaced = yolab("runs", "--storage", storage, "rm", "plain", "--yes")
    assert (misplaced.code, "An option before rm does nothing (storage)" in misplaced.err) == (2, True)
    assert len(yolab("runs", "--storage", storage, "--json").json()) == 4


def test_exported_trials_are_called_as_in_the_list(yolab: Yolab, storage: Path, tmp_path: Path) -> None:
    tags = {KIND_TAG: "trial", SWEEP_TAG: "search", NAME_TAG: "trial-002"}
    uri = f"sqlite:///{storage}/mlflow.db"
    mlflow_runs.open_run(uri, "cells", "search/002 w0.5", "key", params={}, tags=tags)
    assert yolab("runs", "--storage", storage, "--limit", "1", "--export", tmp_path / "runs.csv").code == 0
    assert "search/trial-002" in (tmp_path / "runs.csv").read_text()
    assert yolab("runs", "--storage", storage, "--json").json()[0]["name"] == "search/trial-002"
