import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Yolab
from yolab.tracking import mlflow_runs


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have taken this process's place."""
    commands: list[list[str]] = []

    def execve(program: str, command: list[str], environment: Any) -> None:
        commands.append(command)

    monkeypatch.setattr(os, "execve", execve)
    return commands


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_mlflow_serves_the_database_of_home(yolab: Yolab, mlflow_uri: str, started: list[list[str]]) -> None:
    port = free_port()
    for name in ("first", "second"):
        mlflow_runs.open_run(mlflow_uri, name, "a-run", name, params={}, tags={})
    newest = mlflow_runs.client(mlflow_uri).get_experiment_by_name("second").experiment_id
    answer = yolab(
        "ui", "--storage", mlflow_uri.removeprefix("sqlite:///").removesuffix("/mlflow.db"), "--port", str(port)
    )
    assert answer.code == 0
    assert f"http://127.0.0.1:{port}/#/experiments/{newest}?workflowType=machine_learning" in answer.err
    [command] = started
    assert mlflow_uri in command
    assert str(port) in command


def test_without_runs_it_says_how_to_make_one(yolab: Yolab, tmp_path: Path, started: list[list[str]]) -> None:
    answer = yolab("ui", "--storage", tmp_path)
    assert (answer.code, started) == (2, [])
    assert "yolab train" in answer.err


def test_a_busy_port_is_refused(yolab: Yolab, mlflow_uri: str, started: list[list[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = yolab("ui", "--uri", mlflow_uri, "--port", str(taken.getsockname()[1]))
    assert (answer.code, started) == (2, [])
    assert "--port" in answer.err


def test_a_server_is_only_named(
    yolab: Yolab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: list[list[str]]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@tracking:5000")
    answer = yolab("ui", "--storage", tmp_path)
    assert (answer.code, started) == (0, [])
    assert "http://tracking:5000" in answer.err
