"""A sweep whose driver is killed, interrupted, or started twice under one name."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests import tiny_set
from tests.reporting import Recorder, folder_reporter, newest
from tests.terminal import answering
from yolab.data import loaded_data
from yolab.evaluation.detections_file import after_epoch
from yolab.experiment import build
from yolab.search.sweep_folder import SweepFolder
from yolab.storage import Folder
from yolab.tracking.mlflow_runs import client, list_runs
from yolab.training.loop import EVALUATION, train

pytestmark = pytest.mark.timeout(600)

TRIALS = 4


def rows(folder: Path) -> list[dict]:
    return list(SweepFolder(Folder(folder)).rows().values())


@pytest.fixture
def arguments(small_set, tmp_path) -> list[str]:
    changes = {"recipe__epochs": 12, "recipe__evaluate_every": 4, "recipe__batch": 4}
    described = build({}, tiny_set.experiment(small_set, **changes), "test").model_dump()
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(described))
    (tmp_path / "space.yaml").write_text("assigner.top_k: {randint: [5, 16]}\n")
    start = [sys.executable, "-m", "yolab.cli", "sweep", "experiment.yaml", "--space", "space.yaml"]
    return [*start, "--name", "search", "--trials", str(TRIALS), "--json"]


def wait_for_first_end(folder: Path, running: subprocess.Popen) -> list[str]:
    """Wait until a trial has ended and another runs; return the names of the ended ones."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and running.poll() is None:
        states = {row["trial"]: row["state"] for row in rows(folder)}
        ended = [trial for trial, state in states.items() if state != "running"]
        if ended and len(states) > len(ended):
            return ended
        time.sleep(0.1)
    raise AssertionError(f"no trial ended: {running.communicate(timeout=5)}")


def kill_tree(process: psutil.Process) -> None:
    for child in [*process.children(recursive=True), process]:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


def assert_whole(folder: Path, uri: str) -> None:
    """Every trial ended once, one MLflow run each, and each epoch of it once."""
    assert len(rows(folder)) == TRIALS
    (parent,) = [
        run for run in list_runs(uri, where="attributes.run_name = 'search'") if run["tags"]["yolab.kind"] == "sweep"
    ]
    children = list_runs(uri, parent=parent["run_id"])
    assert sorted(run["name"] for run in children) == [f"trial-{number:03d}" for number in range(TRIALS)]
    assert {run["status"] for run in [parent, *children]} == {"FINISHED"}
    for run in children:
        steps = [point.step for point in client(uri).get_metric_history(run["run_id"], "loss/total")]
        assert steps == list(range(1, len(steps) + 1))
        evaluated = {point.step for point in client(uri).get_metric_history(run["run_id"], "val/ap")}
        kept = {file.name for file in (folder / run["name"] / EVALUATION).iterdir()}
        assert kept == {after_epoch(step) for step in evaluated}


@pytest.mark.acceptance
def test_a_sweep_goes_on_after_its_driver_was_killed_and_does_not_repeat_what_had_ended(arguments, tmp_path):
    folder, uri = tmp_path / "runs" / "search", f"sqlite:///{tmp_path}/runs/mlflow.db"
    running = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ended = wait_for_first_end(folder, running)
    kill_tree(psutil.Process(running.pid))
    before = Counter(event["trial"] for event in SweepFolder(Folder(folder)).news())

    refused = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2
    assert "sweep resume" in refused.stderr
    assert "Traceback" not in refused.stderr

    resumed = subprocess.run(
        [*arguments[:4], "resume", "search", "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert resumed.returncode == 0, resumed.stderr
    assert len(json.loads(resumed.stdout)["trials"]) == TRIALS
    after = Counter(event["trial"] for event in SweepFolder(Folder(folder)).news())
    assert {trial: after[trial] for trial in ended} == {trial: before[trial] for trial in ended}
    assert_whole(folder, uri)
    assert_equal_to_a_plain_run(next(row for row in rows(folder) if row["trial"] not in ended), tmp_path)

    again = subprocess.run(
        [*arguments[:4], "resume", "search", "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert json.loads(again.stdout) == json.loads(resumed.stdout)
    assert "Nothing is left to do of search" in again.stderr
    assert Counter(event["trial"] for event in SweepFolder(Folder(folder)).news()) == after
    assert_whole(folder, uri)


def assert_equal_to_a_plain_run(trial: dict, folder: Path) -> None:
    """The weights of a trial that was killed and resumed, against those of a run that never stopped, to the bit."""
    undisturbed = folder / "undisturbed"
    undisturbed.mkdir()
    described = yaml.safe_load((folder / "experiment.yaml").read_text())
    stopped = folder_reporter(undisturbed, Recorder(stop_after=trial["epoch"]))
    experiment = build(described, trial["point"], "test")
    train(experiment, loaded_data.load(experiment.data), stopped)
    ours, theirs = load_file(trial["weights"]), load_file(newest(undisturbed) / "weights.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("stop", "scheduler"),
    [
        pytest.param(signal.SIGINT, ("hyperband", "recipe.evaluate_every=1"), marks=pytest.mark.acceptance),
        pytest.param(signal.SIGTERM, ("median", "--grace", "8"), marks=pytest.mark.faults),
    ],
)
def test_ctrl_c_or_a_batch_schedulers_sigterm_stops_a_sweep_with_its_state_saved(arguments, tmp_path, stop, scheduler):
    folder, uri = tmp_path / "runs" / "search", f"sqlite:///{tmp_path}/runs/mlflow.db"
    asked = [*arguments, "recipe.epochs=60", "--scheduler", *scheduler]  # longer than it takes to hear of the stop
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(asked, cwd=tmp_path, start_new_session=True, preexec_fn=answering(), **pipes)
    wait_for_first_end(folder, running)
    os.killpg(running.pid, stop)  # as a terminal and a batch scheduler do: to all processes of the job
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130, errors
    assert "sweep resume" in errors
    assert "Traceback" not in errors
    stopped = list_runs(uri)
    assert [run["name"] for run in stopped if run["status"] == "RUNNING"] == []
    assert "stopped" in {run["tags"]["yolab.state"] for run in stopped if run["parent_id"]}

    resumed = subprocess.run(
        [*arguments[:4], "resume", "search", "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert resumed.returncode == 0, resumed.stderr
    assert_whole(folder, uri)
