"""Fixtures for all tests."""

import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, made once, because its migrations take seconds."""
    from yolab.tracking.runs import client

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def mlflow_uri(migrated_database: Path, tmp_path: Path) -> str:
    """The URI of a fresh MLflow database in `tmp_path/runs`."""
    home = tmp_path / "runs"
    home.mkdir()
    shutil.copyfile(migrated_database, home / "mlflow.db")
    return f"sqlite:///{home}/mlflow.db"
