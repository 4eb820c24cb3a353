"""A training that outlives its MLflow server."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.reporting import folder_reporter
from yolab.search.trial import TrialState
from yolab.tracking import mlflow_runs
from yolab.tracking.tracked import tracked
from yolab.training.reporter import Reporter

SECONDS_AWAY = 10
pytestmark = pytest.mark.acceptance


@contextmanager
def mlflow_server(home: Path, port: int) -> Iterator[None]:
    """A real server over SQLite; killed with all its processes."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    with (home / "server.log").open("ab") as log:
        server = subprocess.Popen([*command, *stores], cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", server)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_until_healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(url)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_server_that_is_killed_and_comes_back_has_every_point_once(
    mlflow_uri: str, tmp_path: Path, port: int
) -> None:
    home = Path(mlflow_uri.removeprefix("sqlite:///")).parent
    uri = f"http://127.0.0.1:{port}"
    checkpoint, picture = tmp_path / "checkpoint", tmp_path / "picture.png"
    checkpoint.mkdir()
    picture.write_bytes(b"png")
    with ExitStack() as training:
        with mlflow_server(home, port):
            run_id = mlflow_runs.open_run(uri, "tests", "a-run", "key", params={"seed": 0}, tags={})
            tracking = training.enter_context(tracked(tmp_path / "run", uri, run_id, tmp_path / "run"))
            reporter = folder_reporter(tmp_path / "run", tracking)
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
            mlflow_runs.finish_run(uri, run_id, TrialState.FINISHED)
            history = {key: mlflow_runs.client(uri).get_metric_history(run_id, key) for key in ("loss", "odd")}
            artifacts = [file.path for file in mlflow_runs.client(uri).list_artifacts(run_id)]
            [run] = mlflow_runs.list_runs(uri)
    expected = [(entry["epoch"], entry["metrics"]["loss"], entry["time_ms"]) for entry in tracking.journal.entries()]
    assert len(expected) == len(seconds) > 20
    assert sorted((metric.step, metric.value, metric.timestamp) for metric in history["loss"]) == expected
    assert sorted(metric.step for metric in history["odd"]) == list(range(1, len(seconds) + 1))
    assert max(seconds) < 0.2
    assert artifacts == ["log.txt", "picture.png"]
    assert (run["status"], run["params"]) == ("FINISHED", {"seed": "0"})
    assert "system/cpu_utilization_percentage" in run["metrics"]


def seconds_of_report(reporter: Reporter, epoch: int, checkpoint: Path) -> float:
    start = time.monotonic()
    reporter.report(epoch, {"loss": 1 / epoch, "odd": math.nan if epoch % 2 else math.inf}, checkpoint)
    return time.monotonic() - start


def wait_for_points(uri: str, run_id: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(mlflow_runs.client(uri).get_metric_history(run_id, "loss")) < count:
        assert time.monotonic() < deadline, "the points don't arrive"
        time.sleep(0.1)
