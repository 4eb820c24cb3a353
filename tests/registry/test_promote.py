"""What of a promotion stays behind that fails: nothing; and of one that does not, beside the model."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from yolab.errors import UsageError, YolabError
from yolab.registry import package
from yolab.registry.promote import _champion, _register
from yolab.search.trial import TrialState
from yolab.tracking import mlflow_runs


def test_no_champion_is_told_from_an_mlflow_that_does_not_answer(mlflow_uri: str) -> None:
    mlflow_runs.client(mlflow_uri).create_registered_model("without-versions")
    for name in ("nobody", "without-versions"):
        assert _champion(mlflow_uri, name) is None
    with pytest.raises(YolabError, match="can't be used"):
        _champion("http://127.0.0.1:9", "nobody")


@pytest.mark.parametrize("is_there", [False, True])
def test_a_model_is_registered_only_with_a_version(
    mlflow_uri: str, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("no room for it")

    client = mlflow_runs.client(mlflow_uri)
    if is_there:
        client.create_registered_model("cells")
    monkeypatch.setattr(MlflowClient, "create_model_version", refuse)
    packaged = SimpleNamespace(model_uri="models:/m-1", run_id="1", model_id="m-1")
    with pytest.raises(YolabError, match="no room for it"):
        _register(mlflow_uri, "cells", packaged, {}, "a detector")
    assert [model.name for model in client.search_registered_models()] == (["cells"] if is_there else [])


def test_a_run_whose_package_fails_stays_as_it_was(mlflow_uri: str, tmp_path: Path) -> None:
    run_id = mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params={}, tags={})
    mlflow_runs.finish_run(mlflow_uri, run_id, TrialState.FINISHED)
    [before] = mlflow_runs.list_runs(mlflow_uri)
    with pytest.raises(YolabError, match="can't be used"):
        package.log_package(mlflow_uri, run_id, tmp_path / "missing.safetensors", {})
    [after] = mlflow_runs.list_runs(mlflow_uri)
    assert (after["status"], after["end_time"]) == (before["status"], before["end_time"])


def test_a_package_lies_beside_its_run(mlflow_uri: str, tmp_path: Path) -> None:
    run_id = mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params={"seed": 0}, tags={})
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    made = package.log_package(mlflow_uri, run_id, tmp_path / "weights.safetensors", {"yolab.run_id": run_id})
    model = mlflow_runs.client(mlflow_uri).get_logged_model(made.model_id)
    assert (model.source_run_id, model.params, made.metadata) == (run_id, {"seed": "0"}, {"yolab.run_id": run_id})
    assert model.artifact_location.startswith(f"file://{tmp_path}/runs/artifacts/")


def test_a_package_asks_for_all_that_its_code_imports() -> None:
    asked = {requirement.partition("==")[0] for requirement in package._REQUIREMENTS}
    assert asked >= {"yolab", "torch", "torchvision", "mlflow"}


def test_a_model_that_is_not_there_is_named_without_the_password_of_the_uri(mlflow_uri: str) -> None:
    with pytest.raises(YolabError, match="There is no model models:/nobody@champion"):
        package.download("models:/nobody@champion", mlflow_uri)
    with pytest.raises(YolabError) as caught:
        package.download("models:/nobody@champion", "http://user:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("given", [None, "http://the-callers-own:1"])
def test_the_callers_own_mlflow_is_left_as_it_was(
    given: str | None, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    with pytest.raises(UsageError, match="There is no model"):
        package.download("models:/nobody@champion", mlflow_uri)
    assert os.environ.get("MLFLOW_TRACKING_URI") == given
