"""Runs the command line in this process, as `yolab` would: with its exit code, and what came on which stream."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from yolab.cli import main


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what stdout holds, which must be one JSON document and nothing else."""
        return json.loads(self.out)


Yolab = Callable[..., Answer]


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no cluster, server or cache of this machine's take part; an absent server is given up at once."""
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def yolab(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Yolab:
    def call(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["yolab", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main.run()
        said = capfd.readouterr()
        return Answer(int(end.value.code or 0), said.out, " ".join(said.err.split()))

    return call
