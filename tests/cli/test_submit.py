"""What can't be submitted, and what goes along with what can. A cluster that takes it is in tests/acceptance."""

import importlib
from pathlib import Path

import pytest

from tests.cli.conftest import Yolab
from yolab.errors import UsageError

submit_job = importlib.import_module("yolab.jobs.submit_job")  # itself, and not the stand-in for it


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder with an experiment that extends another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLAB_STORAGE", "s3://lab/runs")
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.yaml").write_text("extends: ../base.yaml\nname: own\n")
    (tmp_path / "base.yaml").write_text("extends: demo\nname: base\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Say what to run"),
        (["ui"], "Say what to run"),
        (["submit", "train", "demo"], "Say what to run"),
        (["tran", "demo"], "No such command 'tran'"),
        (["train"], "Missing argument"),
        (["sweep", "demo", "--spase", "recipe"], "No such option: --spase"),
        (["sweep", "run", "demo", "--trials", "many"], "parse string as an integer"),
        (["train", "missing/own.yaml", "--storage", "runs"], "Say where the cluster keeps the runs"),
        (["train", "demo", "tracking.uri=http://me:secret@mlflow:5000"], "There is a password in the argument"),
        (["train", "demo"], "Say where the cluster is: RAY_API_SERVER_ADDRESS=http://HEAD:8265"),
    ],
)
def test_what_can_not_be_meant_is_said_before_anything_is_sent(yolab: Yolab, words: list[str], said: str) -> None:
    answer = yolab("submit", *words)
    assert answer.code == 2
    assert said in " ".join(answer.err.replace("│", " ").split())
    assert "secret" not in answer.err


@pytest.mark.parametrize("variable", ["YOLAB_STORAGE", "MLFLOW_TRACKING_URI"])
def test_a_password_in_the_environment_is_not_sent(
    yolab: Yolab, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://me:secret@mlflow:5000")
    answer = yolab("submit", "train", "demo")
    assert (answer.code, f"There is a password in {variable}" in answer.err, "secret" in answer.err) == (2, True, False)


def test_a_cluster_that_does_not_answer_is_named(yolab: Yolab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    for words in (["train", "demo"], ["--attach", "train-1"], ["--cancel", "train-1"]):
        answer = yolab("submit", *words)
        assert (answer.code, "The cluster at http://127.0.0.1:9 can't be used" in answer.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["train", "demo"], []),
        (["train", "mine/own.yaml", "data.path=s3://lab/demo"], ["base.yaml", "mine/own.yaml"]),
        (["sweep", "run", "demo", "--space", "base.yaml"], ["base.yaml"]),
        (["sweep", "run", "demo", "--space=base.yaml"], ["base.yaml"]),
        (["train", "demo", "recipe.start=base.yaml"], ["base.yaml"]),
    ],
)
def test_the_files_that_are_named_and_those_that_they_extend_go_along(words: list[str], files: list[str]) -> None:
    assert sorted(map(str, submit_job._files_of(words))) == files


def test_a_file_outside_of_the_folder_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "mine")
    with pytest.raises(UsageError, match="outside of this folder"):
        submit_job._files_of(["train", "own.yaml"])


def test_a_password_in_a_file_that_would_go_along_is_not_sent(yolab: Yolab, place: Path) -> None:
    (place / "base.yaml").write_text("extends: demo\ntracking: {uri: 'http://me:secret@mlflow:5000'}\n")
    answer = yolab("submit", "train", "mine/own.yaml")
    assert (answer.code, "There is a password in base.yaml" in answer.err, "secret" in answer.err) == (2, True, False)
