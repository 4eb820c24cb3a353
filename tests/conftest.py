"""Fixtures for all tests."""

import os
import shutil
from pathlib import Path

import pytest

from tests import tiny_set

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, made once, because its migrations take seconds."""
    from yolab.tracking.mlflow_runs import client

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


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 24 training and 8 validation images, in COCO layout."""
    return tiny_set.write(tmp_path_factory.mktemp("set") / "tiny", {"train2017": 24, "val2017": 8})
