"""Fixtures for the tests of tracking."""

import socket

import pytest

from yolab.tracking import mlflow_runs


@pytest.fixture
def run_id(mlflow_uri: str) -> str:
    """A fresh run in `mlflow_uri`."""
    return mlflow_runs.open_run(mlflow_uri, "tests", "a-run", "key", params={}, tags={})


@pytest.fixture
def away_uri() -> str:
    """A URI where no MLflow server answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
