import json
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_set
from yolab import preflight
from yolab.errors import UsageError
from yolab.experiment import build
from yolab.search.trial import TrialState
from yolab.storage import Folder
from yolab.tracking import find_runs, mlflow_runs, record
from yolab.tracking.outbox import Outbox
from yolab.tracking.tags import KIND_TAG, WEIGHTS_TAG


def opened(small_set: Path, place: Path, **changes: Any) -> Outbox:
    checked = preflight.check(build({}, tiny_set.experiment(small_set, **changes), "test"))
    return record.opened(Folder(place), checked, "key", {})


def test_mlflows_page_shows_what_differs_from_the_preset_and_what_the_sweep_has_chosen(
    small_set: Path, tmp_path: Path, mlflow_uri: str
) -> None:
    checked = preflight.check(build({"name": "cells"}, {"data.path": str(small_set), "assigner.top_k": 12,
                                                        "recipe.batch": 8, "recipe.epochs": 2}, "test"))  # fmt: skip
    point = {"model.scale": {"depth": 1.0}, "recipe.optimiser.lr": 0.01}
    place = Folder(tmp_path / "trial-000")
    record.opened(place, checked, "key", {}, title="mine/000 d1 lr=0.01", point=point).deliver(mlflow_uri)
    [run] = mlflow_runs.list_runs(mlflow_uri)
    presets = {"recipe.preset": "p5", "data.augment.preset": "p5"}
    usual = {**presets, "model.name": "yolov7", "data.image_size": "640", "seed": "0"}
    own = {"data.path": str(small_set), "recipe.batch": "8", "recipe.epochs": "2", "assigner.top_k": "12"}
    assert run["params"] == {**usual, **own, "model.scale.depth": "1.0", "recipe.optimiser.lr": "0.01"}
    assert record.settings_of(mlflow_uri, run)["recipe.warmup.epochs"] == "3.0"

    shown = mlflow_runs.client(mlflow_uri).get_run(run["run_id"])
    assert (run["name"], shown.info.run_name) == ("trial-000", "mine/000 d1 lr=0.01")
    assert shown.data.metrics["model/params"] > 1e6
    assert shown.data.metrics["schedule/batches_an_epoch"] == 3
    [used] = shown.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == (small_set.name, checked.data_digest)
    assert json.loads(used.dataset.profile) == {"train_images": 24, "val_images": 8, "classes": 2}


def test_a_sweep_has_no_counts_of_a_model(small_set: Path, tmp_path: Path, mlflow_uri: str) -> None:
    checked = preflight.check(build({}, tiny_set.experiment(small_set), "test"))
    record.opened(Folder(tmp_path / "search"), checked, "key", {KIND_TAG: "sweep"}).deliver(mlflow_uri)
    [run] = mlflow_runs.list_runs(mlflow_uri)
    assert run["metrics"] == {}


def test_a_long_list_of_classes_is_cut_for_people_and_whole_in_the_experiment_of_a_run(
    small_set: Path, tmp_path: Path, mlflow_uri: str
) -> None:
    classes = [f"box={'a class with a rather long name, ' * 300}", "disc="]
    opened(small_set, tmp_path / "run", data__classes=classes).deliver(mlflow_uri)
    [run] = mlflow_runs.list_runs(mlflow_uri)
    assert len(run["params"]["data.classes"]) == mlflow_runs.LONGEST_PARAM
    assert record.validation_set_of(mlflow_uri, run).names == (classes[0].removeprefix("box="),)


def test_the_validation_set_of_a_run_without_an_experiment_file_is_that_of_its_parameters(
    small_set: Path, mlflow_uri: str
) -> None:
    params = {"data.path": str(small_set), "data.val": "val2017", "data.on_error": "fail"}
    mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params=params, tags={})
    [run] = mlflow_runs.list_runs(mlflow_uri)
    assert len(record.validation_set_of(mlflow_uri, run).samples) == 8


def test_the_password_of_an_experiments_mlflow_is_not_recorded(small_set: Path, tmp_path: Path) -> None:
    opened(small_set, tmp_path / "run", tracking__uri="http://user:secret@server:5000")
    recorded = [path for path in (tmp_path / "run").iterdir() if path.stat().st_size]
    assert {path.name for path in recorded} == {"experiment.yaml", "outbox.jsonl"}
    assert "http://server:5000" in (tmp_path / "run" / "experiment.yaml").read_text()
    for path in recorded:
        assert "secret" not in path.read_text()


def test_a_storage_that_was_moved_is_read_and_not_written_to_where_it_was(
    small_set: Path, tmp_path: Path, mlflow_uri: str
) -> None:
    storage, moved = tmp_path / "runs", tmp_path / "moved"
    outbox = opened(small_set, storage / "run")
    (storage / "run" / "weights.safetensors").write_bytes(b"weights")
    outbox.end(TrialState.FINISHED, tags={WEIGHTS_TAG: "run/weights.safetensors"})
    outbox.deliver(mlflow_uri)
    storage.rename(moved)
    uri = f"sqlite:///{moved}/mlflow.db"
    [run] = mlflow_runs.list_runs(uri)
    assert find_runs.weights_of(run, Folder(moved)) == str(moved / "run" / "weights.safetensors")
    assert mlflow_runs.fetch(uri, run["run_id"], record.EXPERIMENT, tmp_path) == tmp_path / record.EXPERIMENT
    with pytest.raises(UsageError, match=f"{moved} was moved or copied from {storage}"):
        opened(small_set, moved / "run").deliver(uri)
    assert not storage.exists()
