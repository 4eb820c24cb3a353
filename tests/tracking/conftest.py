"""Fixtures for the tests of tracking."""

import socket
from pathlib import Path

import pytest

from yolab.storage import Folder
from yolab.tracking import mlflow_runs
from yolab.tracking.outbox import Outbox


@pytest.fixture
def run_id(mlflow_uri: str) -> str:
    """A fresh run in `mlflow_uri`."""
    return mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params={}, tags={})


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """The outbox of that run, which is in the folder `run`; nothing of it is delivered."""
    outbox = Outbox(Folder(tmp_path / "run"))
    outbox.open(experiment_name="tests", run_name="a-run", key="key", params={}, tags={})
    return outbox


@pytest.fixture
def away_uri() -> str:
    """A URI where no MLflow server answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
