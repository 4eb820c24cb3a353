"""Fixtures for all tests."""

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny_set
from yolab.storage import bucket

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


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a fresh bucket, s3://NAME, and the environment in which it is reached."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "of-tests",
        "AWS_SECRET_ACCESS_KEY": "of-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    bucket._client.cache_clear()
    name = f"tests-{secrets.token_hex(4)}"
    boto3.client("s3").create_bucket(Bucket=name)
    yield f"s3://{name}"
    bucket._client.cache_clear()
