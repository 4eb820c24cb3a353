"""`yolab train` over two workers of a real Ray cluster: the same work, one writer, and an end before the end."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests import tiny_set
from tests.reporting import folder_reporter, newest, one_thread
from tests.terminal import answering
from yolab.data import loaded_data
from yolab.evaluation.detections_file import after_epoch
from yolab.experiment import build
from yolab.storage import Folder
from yolab.storage.checkpoints import Checkpoints
from yolab.tracking.journal import read_entries
from yolab.tracking.metric_names import in_mlflow
from yolab.tracking.mlflow_runs import client, list_runs
from yolab.training import loop
from yolab.training.loop import EVALUATION

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]


def command(folder: Path, root: Path, *overrides: str, **changes: object) -> list[str]:
    described = build({}, tiny_set.experiment(root, **changes), "test").model_dump()
    (folder / "experiment.yaml").write_text(yaml.safe_dump(described))
    return [sys.executable, "-m", "yolab.cli", "train", "experiment.yaml", *overrides, "--json"]


def result_of(folder: Path, arguments: list[str]) -> dict:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def history(folder: Path, name: str, metric: str) -> list[tuple[int, float]]:
    uri = f"sqlite:///{folder}/runs/mlflow.db"
    (run,) = (run for run in list_runs(uri) if run["name"] == name)
    return [(point.step, point.value) for point in client(uri).get_metric_history(run["run_id"], in_mlflow(metric))]


def test_two_workers_have_the_first_loss_of_one_and_leave_one_run_with_each_epoch_once(small_set, tmp_path):
    arguments = command(tmp_path, small_set, recipe__batch=24)
    one = result_of(tmp_path, [*arguments, "name=one"])
    two = result_of(tmp_path, [*arguments, "name=two", "compute.workers=2"])
    losses = {name: history(tmp_path, name, "loss") for name in ("one", "two")}
    assert [epoch for epoch, _ in losses["two"]] == [1, 2, 3]
    assert losses["two"][0][1] == pytest.approx(losses["one"][0][1], rel=1e-3)
    assert Path(tmp_path, two["weights"]).exists()
    for name in ("one", "two"):
        kept = {file.name for file in (tmp_path / "runs" / name / EVALUATION).glob("*.parquet")}
        assert kept == {after_epoch(epoch) for epoch, _ in history(tmp_path, name, "ap")}
    assert set(one) == set(two)


def test_what_can_not_go_well_another_time_is_said_once(small_set, tmp_path):
    arguments = command(tmp_path, small_set, recipe__optimiser__lr=1e30, compute__workers=2)
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("The loss is no longer a number") == 1
    assert "Traceback" not in done.stderr
    (run,) = list_runs(f"sqlite:///{tmp_path}/runs/mlflow.db", where="attributes.run_name = 'tiny'")
    assert (run["status"], "no longer a number" in run["tags"]["yolab.error"]) == ("FAILED", True)


def test_ctrl_c_stops_the_workers_with_the_state_saved_and_the_run_goes_on_to_the_bit(small_set, tmp_path):
    epochs = 60  # more than it takes to hear of it
    changes = {"recipe__epochs": epochs, "recipe__evaluate_every": epochs, "compute__shards": 2}
    arguments = command(tmp_path, small_set, **changes, compute__workers=2)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(arguments, cwd=tmp_path, preexec_fn=answering(), **pipes)
    try:
        _wait_for_epoch(tmp_path / "runs" / "tiny", 3, running)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    (run,) = list_runs(f"sqlite:///{tmp_path}/runs/mlflow.db", where="attributes.run_name = 'tiny'")
    assert run["status"] == "KILLED"

    resumed = result_of(tmp_path, [*arguments, "--resume"])
    alone = build({}, tiny_set.experiment(small_set, **changes), "test")
    with one_thread():
        loop.train(alone, loaded_data.load(alone.data), folder_reporter(tmp_path / "alone"))
    learned = tmp_path / resumed["weights"], newest(tmp_path / "alone") / "weights.safetensors"
    ours, theirs = map(load_file, learned)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [epoch for epoch, _ in history(tmp_path, "tiny", "loss")] == list(range(1, epochs + 1))
    assert len(_repeated_epochs(tmp_path)) <= 1


def test_a_sweep_whose_trials_have_several_workers_runs_each_as_a_nested_ray_train_run(small_set, tmp_path):
    described = command(tmp_path, small_set, recipe__epochs=2, recipe__evaluate_every=2, compute__workers=2)
    (tmp_path / "space.yaml").write_text("assigner.top_k: {choice: [10]}\n")
    search = ["sweep", "experiment.yaml", "--space", "space.yaml", "--name", "nested", "--trials", "1", "--json"]
    (trial,) = result_of(tmp_path, [*described[:3], *search])["trials"]
    assert trial["state"] == "finished"
    assert [epoch for epoch, _ in history(tmp_path, "trial-000", "loss")] == [1, 2]


def _repeated_epochs(folder: Path) -> list[int]:
    """The finished epochs that were made twice: MLflow keeps the time of the first, the last checkpoint's journal that
    of the second."""
    uri = f"sqlite:///{folder}/runs/mlflow.db"
    (run,) = list_runs(uri, where="attributes.run_name = 'tiny'")
    first = {point.step: point.timestamp for point in client(uri).get_metric_history(run["run_id"], "loss/total")}
    journal = read_entries(newest(folder / "runs" / "tiny") / "journal.jsonl")
    return [entry["epoch"] for entry in journal if first[entry["epoch"]] != entry["time_ms"]]


def _wait_for_epoch(run: Path, epoch: int, running: subprocess.Popen) -> None:
    """Wait until a checkpoint of that epoch is durable."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and running.poll() is None:
        last = Checkpoints(Folder(run)).newest()
        if last and int(last.name.partition("-")[0]) >= epoch:
            return
        time.sleep(0.1)
    raise AssertionError(f"epoch {epoch} was not reached")
