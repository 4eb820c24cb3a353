"""Two runs side by side; and what else one can ask of runs that have ended."""

import csv
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests import tiny_set
from tests.cli.conftest import Yolab
from yolab.experiment import build

RUNS = {"first": (0, 10), "second": (1, 10), "other": (0, 5), "other-2": (1, 5)}  # seed, top_k


@pytest.fixture
def runs(yolab: Yolab, small_set: Path, tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four runs of one epoch: two recipes with two seeds each; return their home."""
    monkeypatch.chdir(tmp_path)
    described = build({}, tiny_set.experiment(small_set, recipe__epochs=1), "test").model_dump()
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(described))
    for name, (seed, top_k) in RUNS.items():
        changes = (f"name={name}", f"seed={seed}", f"assigner.top_k={top_k}", "tracking.experiment=cells")
        assert yolab("train", "experiment.yaml", *changes).code == 0
    return tmp_path / "runs"


def test_two_runs_are_compared_listed_exported_and_their_logs_read(yolab: Yolab, runs: Path, tmp_path: Path) -> None:
    answer = yolab("compare", "first", "other", "--report", tmp_path / "report", "--resamples", "100", "--json")
    found = answer.json()
    assert found["configuration"] == {"assigner.top_k": ["10", "5"]}
    assert found["ap"]["low"] <= found["ap"]["high"]
    assert found["sentence"].endswith("that takes several seeds of each, and --recipes.")
    assert found["shown"] == found["sentence"].startswith("These weights differ by")

    seeds = yolab("compare", "first", "second", "--resamples", "100").out
    assert "weights" in seeds
    assert "About their recipes" not in seeds

    recipes = yolab("compare", "first", "other-2", "--recipes")
    assert "these recipes with 2 seeds" in recipes.out or "These recipes differ by" in recipes.out
    assert "over 2 seeds" in recipes.err
    assert "runs of one recipe" in yolab("compare", "first", "second", "--recipes").err
    assert "same run" in yolab("compare", "first", "first").err
    assert yolab("compare", "first", "thirrd").code == 2

    assert yolab("runs", "--where", "params.`assigner.top_k` = '5'", "--export", tmp_path / "runs.csv").code == 0
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert {row["name"] for row in rows} == {"other", "other-2"}
    assert yolab("runs", "--export", tmp_path / "runs.parquet").code == 0
    table = pd.read_parquet(tmp_path / "runs.parquet")
    assert len(table) == len(RUNS)
    assert table["metrics.ap"].notna().all()
    assert set(table["params.seed"]) == {"0", "1"}
    assert "can't read the filter" in yolab("runs", "--where", "ap >").err
    assert yolab("runs", "--export", tmp_path / "runs.xls").code == 2

    said = yolab("logs", "first")
    assert "epoch 1  loss" in said.out
    assert said.out.rstrip().endswith("has ended")
    (runs / "first" / "log.txt").rename(runs / "first" / "elsewhere.txt")
    assert yolab("logs", "first").out == said.out
    assert yolab("logs", "nothing").code == 2
