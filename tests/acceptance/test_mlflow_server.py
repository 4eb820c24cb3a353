"""Runs and sweeps that outlive their MLflow server, and the way into its registry."""

import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import tiny_set
from tests.acceptance.servers import mlflow_server
from tests.reporting import folder_reporter
from yolab.experiment import build
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import TrialState
from yolab.storage import Folder
from yolab.tracking import mlflow_runs
from yolab.tracking.metric_names import in_mlflow
from yolab.tracking.outbox import Outbox, delivering
from yolab.tracking.tracked import tracked
from yolab.training.reporter import Reporter

SECONDS_AWAY = 10
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder where writing never waits for a disk, so that what takes long is a wait for something else."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_server_that_is_killed_and_comes_back_has_every_point_once(
    mlflow_uri: str, in_memory: Path, port: int
) -> None:
    home = Path(mlflow_uri.removeprefix("sqlite:///")).parent
    uri = f"http://127.0.0.1:{port}"
    run, checkpoint, picture = in_memory / "run", in_memory / "checkpoint", in_memory / "picture.png"
    checkpoint.mkdir()
    picture.write_bytes(b"png")
    with ExitStack() as training:
        with mlflow_server(home, port):
            outbox = Outbox(Folder(run))
            outbox.open(experiment_name="tests", run_name="a-run", key="key", params={"seed": 0}, tags={})
            outbox.deliver(uri)
            run_id = str(outbox.run_id)
            tracking = training.enter_context(tracked(Folder(run), uri, run))
            reporter = folder_reporter(run, tracking)
            reporter.restore()
            seconds = [seconds_of_report(reporter, epoch, checkpoint) for epoch in range(1, 6)]
            reporter.save_artifact(picture)
            wait_for_points(uri, run_id, 5)
        back = time.monotonic() + SECONDS_AWAY
        while time.monotonic() < back:
            seconds.append(seconds_of_report(reporter, len(seconds) + 1, checkpoint))
            time.sleep(0.2)
        with mlflow_server(home, port):
            seconds.append(seconds_of_report(reporter, len(seconds) + 1, checkpoint))
            training.close()
            outbox.end(TrialState.FINISHED)
            with delivering(uri) as delivery:
                delivery.add(outbox)
            history = {
                key: mlflow_runs.client(uri).get_metric_history(run_id, in_mlflow(key)) for key in ("loss", "odd")
            }
            artifacts = [file.path for file in mlflow_runs.client(uri).list_artifacts(run_id)]
            [tracked_run] = mlflow_runs.list_runs(uri)
    expected = [(entry["epoch"], entry["metrics"]["loss"], entry["time_ms"]) for entry in tracking.journal.entries()]
    assert len(expected) == len(seconds) > 20
    assert sorted((metric.step, metric.value, metric.timestamp) for metric in history["loss"]) == expected
    assert sorted(metric.step for metric in history["odd"]) == list(range(1, len(seconds) + 1))
    assert max(seconds) < 0.2
    assert artifacts == ["log.txt", "picture.png"]
    assert (tracked_run["status"], tracked_run["params"]) == ("FINISHED", {"seed": "0"})
    assert "system/cpu_utilization_percentage" in tracked_run["metrics"]


def seconds_of_report(reporter: Reporter, epoch: int, checkpoint: Path) -> float:
    start = time.monotonic()
    reporter.report(epoch, {"loss": 1 / epoch, "odd": math.nan if epoch % 2 else math.inf}, checkpoint)
    return time.monotonic() - start


def wait_for_points(uri: str, run_id: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(mlflow_runs.client(uri).get_metric_history(run_id, "loss/total")) < count:
        assert time.monotonic() < deadline, "the points don't arrive"
        time.sleep(0.1)


@pytest.fixture
def place(small_set: Path, mlflow_uri: str, tmp_path: Path) -> Path:
    """A folder with an experiment and a space; the server's own things are in `runs`."""
    changes = {"recipe__epochs": 4, "recipe__batch": 4}
    described = build({}, tiny_set.experiment(small_set, **changes), "test").model_dump()
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(described | {"name": "tiny"}))
    (tmp_path / "space.yaml").write_text("assigner.top_k: {choice: [5, 6, 7]}\n")
    return tmp_path


def start(place: Path, port: int, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "yolab.cli", *arguments, "--storage", "kept", "--json"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=place, env=environment, stdout=pipe, stderr=pipe, text=True)


def document_of(running: subprocess.Popen[str]) -> Any:
    """Return what a command has printed, which must be one JSON document, when it has ended well."""
    out, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    return json.loads(out)


def wait_until(seen: Callable[[], object], running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not seen():
        assert time.monotonic() < deadline
        assert running.poll() is None, running.communicate(timeout=5)
        time.sleep(0.05)


def test_a_run_whose_server_is_killed_ends_well_arrives_when_it_is_resumed_and_is_promoted_over_http(
    place: Path, port: int
) -> None:
    uri = f"http://127.0.0.1:{port}"
    with mlflow_server(place / "runs", port):
        running = start(place, port, "train", "tiny.yaml")
        wait_until((place / "kept" / "tiny" / "checkpoints").exists, running)
    trained = document_of(running)
    refused = start(place, port, "train", "tiny.yaml", "--resume")
    assert "can't be used" in refused.communicate(timeout=120)[1]
    assert refused.returncode == 1
    with mlflow_server(place / "runs", port):
        assert [run["status"] for run in mlflow_runs.list_runs(uri)] == ["RUNNING"]
        assert document_of(start(place, port, "train", "tiny.yaml", "--resume"))["ap"] == trained["ap"]
        [run] = mlflow_runs.list_runs(uri)
        assert (run["run_id"], run["status"], run["tags"]["yolab.weights"]) == (
            trained["run_id"], "FINISHED", "tiny/weights.safetensors",
        )  # fmt: skip
        client = mlflow_runs.client(uri)
        steps = [point.step for point in client.get_metric_history(run["run_id"], "val/ap")]
        assert steps == [1, 2, 3, 4]
        kept = {file.path for file in client.list_artifacts(run["run_id"])}
        assert kept >= {"experiment.yaml", "weights.safetensors", "log.txt", "evaluation"}

        first = document_of(start(place, port, "promote", "tiny", "--model", "tiny-detector"))
        again = document_of(start(place, port, "promote", "tiny", "--model", "tiny-detector"))
        assert (first["new"], again) == (True, first | {"new": False})
        [after] = mlflow_runs.list_runs(uri)
        assert (after["status"], after["end_time"]) == (run["status"], run["end_time"])
        champion = client.get_model_version_by_alias("tiny-detector", "champion")
        assert (champion.version, champion.run_id) == ("1", run["run_id"])


def test_a_sweep_whose_server_is_killed_ends_well_and_arrives_when_it_is_resumed(place: Path, port: int) -> None:
    uri = f"http://127.0.0.1:{port}"
    sweep = ("sweep", "run", "tiny.yaml", "--space", "space.yaml", "--name", "search", "--searcher", "grid")
    with mlflow_server(place / "runs", port):
        running = start(place, port, *sweep)
        wait_until(lambda: any("epoch" in row for row in rows(place)), running)
    found = document_of(running)
    assert (found["state"], [trial["state"] for trial in found["trials"]]) == ("finished", ["finished"] * 3)
    with mlflow_server(place / "runs", port):
        assert {run["status"] for run in mlflow_runs.list_runs(uri)} == {"RUNNING"}
        assert document_of(start(place, port, "sweep", "resume", "search"))["best"] == found["best"]
        parent, *trials = sorted(mlflow_runs.list_runs(uri), key=lambda run: run["name"])
        assert (parent["name"], parent["status"], "yolab.digest" in parent["tags"]) == ("search", "FINISHED", True)
        assert [(run["name"], run["status"], run["parent_id"]) for run in trials] == [
            (f"trial-{number:03d}", "FINISHED", parent["run_id"]) for number in range(3)
        ]
        weights = {run["name"]: str(place / "kept" / run["tags"]["yolab.weights"]) for run in trials}
        assert weights == {trial["trial"]: str(place / trial["weights"]) for trial in found["trials"]}
        for run in trials:
            history = mlflow_runs.client(uri).get_metric_history(run["run_id"], "val/ap")
            assert [point.step for point in history] == [1, 2, 3, 4]


def rows(place: Path) -> list[dict[str, Any]]:
    return list(SweepFolder(Folder(place / "kept" / "search")).rows().values())
