"""Searches and tables on a real Ray, with MLflow beside them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests import tiny_set
from yolab.experiment import build
from yolab.search.sweep_folder import SweepFolder
from yolab.storage import Folder
from yolab.tracking.mlflow_runs import client, list_runs

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]


@pytest.fixture
def place(small_set: Path, tmp_path: Path) -> Path:
    """A folder with an experiment of six epochs, spaces, and a table."""
    described = build({}, tiny_set.experiment(small_set, recipe__epochs=6), "test").model_dump()
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(described))
    (tmp_path / "all.yaml").write_text(
        "model.scale.depth: {choice: [1.0, 2.0]}\n"
        "assigner.policy: {choice: [lead, plain]}\n"
        "assigner.top_k: {randint: [5, 16], when: {assigner.policy: lead}}\n"
        "recipe.optimiser.lr: {loguniform: [0.001, 0.1]}\n"
        "constraints: [params <= 120e3]\n"
    )
    (tmp_path / "recipe.yaml").write_text(
        "recipe.optimiser.lr: {loguniform: [0.001, 0.1]}\nassigner.top_k: {randint: [5, 16]}\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "title: Mine\ncolumns: [params, flops, size, fps, ap, ap50]\n"
        "groups: [{all: {data.image_size: 640}, rows: {few: {assigner.top_k: 5}, many: {assigner.top_k: 15}, other: },"
        " improvement: [many, few]}]\n"
    )
    budget = {"says": "A test.", "experiment": described, "sizes": {640: tiny_set.SIDE}}
    (tmp_path / "budget.yaml").write_text(yaml.safe_dump(budget))
    return tmp_path


def start(place: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "yolab.cli", *arguments]
    return subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(place: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    running = start(place, *arguments)
    out, errors = running.communicate(timeout=400)
    assert running.returncode == code, errors
    return out, errors


def test_tpe_finds_a_front_under_constraints_stops_when_told_goes_on_and_is_forked(place):
    objectives = ("--objective", "ap", "--objective", "gflops", "--objective", "latency_ms")
    asked = ("sweep", "experiment.yaml", "--space", "all.yaml", "--searcher", "tpe", *objectives, "--restartable")
    search = start(place, *asked, "--trials", "40")
    events = SweepFolder(Folder(place / "runs" / "tiny"))
    while events.ended() < 2 and search.poll() is None:
        time.sleep(0.2)
    run(place, "sweep", "stop", "tiny")
    _, errors = search.communicate(timeout=120)
    assert search.returncode == 130, errors
    assert "asked to by `yolab sweep stop`" in errors
    assert 2 <= events.ended() < 40

    _, errors = run(place, *asked, "--trials", "50", code=2)
    assert "what it does was described otherwise (trials)" in errors
    out, _ = run(place, *asked, "--trials", "40", "--max-trials", "2", "--json")
    rows = json.loads(out)["trials"]
    assert any(row["front"] for row in rows)
    assert all(row["params"] <= 120e3 for row in rows)
    assert all("latency_ms" in row for row in rows if row["state"] == "finished")
    assert all(("assigner.top_k" in row["point"]) == (row["point"]["assigner.policy"] == "lead") for row in rows)
    uri = f"sqlite:///{place}/runs/mlflow.db"
    (parent,) = list_runs(uri, where="tags.`yolab.kind` = 'sweep'")
    assert (parent["status"], parent["tags"]["yolab.state"]) == ("KILLED", "stopped")
    there = {item.path for item in client(uri).list_artifacts(parent["run_id"], "sweep")}
    assert {"sweep/pareto_front.png", "sweep/pareto_front.html"} <= there

    forked = run(place, "sweep", "fork", "tiny", "--space", "recipe.yaml", "--trials", "1", "--name", "fork", "--json")
    assert [row["state"] for row in json.loads(forked[0])["trials"]] == ["finished"]
    assert len(SweepFolder(Folder(place / "runs" / "fork")).request().known) == sum(
        row["state"] == "finished" for row in rows
    )


def test_pbt_hands_weights_on_and_each_trial_keeps_its_name(place):
    search = ("--space", "recipe.yaml", "--scheduler", "pbt", "--grace", "1", "--trials", "4", "--name", "population")
    rows = json.loads(run(place, "sweep", "experiment.yaml", "recipe.epochs=8", *search, "--json")[0])["trials"]
    assert sorted(row["trial"] for row in rows) == [f"trial-{number:03d}" for number in range(4)]
    assert {(row["state"], row["epoch"]) for row in rows} == {("finished", 8)}
    points: dict[str, list] = {}
    for event in SweepFolder(Folder(place / "runs" / "population")).news():
        seen = points.setdefault(event["trial"], [])
        if event["point"] not in seen:
            seen.append(event["point"])
    assert any(len(seen) > 1 for seen in points.values()), "no trial took over another's weights"


def test_a_crashed_trial_goes_on_from_its_checkpoint_and_one_that_diverges_ends_alone(place):
    """The process of a trial is killed; the loss of another is no number, at once and again."""
    space = {"recipe.optimiser.lr": {"choice": [0.01, 0.02, 1e30]}}
    (place / "two.yaml").write_text(yaml.safe_dump(space))
    search = start(
        place, "sweep", "experiment.yaml", "recipe.epochs=25", "--space", "two.yaml", "--searcher", "grid",
        "--scheduler", "none", "--retries", "1", "--name", "crash", "--json",
    )  # fmt: skip
    events = SweepFolder(Folder(place / "runs" / "crash"))
    while search.poll() is None and max((row.get("epoch", 0) for row in events.rows().values()), default=0) < 3:
        time.sleep(0.1)
    workers = [
        process
        for process in psutil.Process(search.pid).children(recursive=True)
        if "ImplicitFunc" in " ".join(process.cmdline())
    ]
    assert workers
    workers[0].kill()
    out, errors = search.communicate(timeout=300)
    assert search.returncode == 0, errors
    rows = {row["point"]["recipe.optimiser.lr"]: row for row in json.loads(out)["trials"]}
    assert {(rows[lr]["state"], rows[lr]["epoch"]) for lr in (0.01, 0.02)} == {("finished", 25)}
    assert rows[1e30]["state"] == "failed"
    assert "no longer a number" in rows[1e30]["reason"]


def test_a_table_tries_rows_again_that_failed_and_stops_when_its_hours_are_spent(place):
    asked = ("ablate", "mine.yaml", "--budget", "budget.yaml", "--rows", "few")
    _, told = run(place, *asked, "--max-hours", "0")
    assert "Stopped, because --max-hours 0 is reached" in told
    diverging = (*asked, "recipe.optimiser.lr=1e30")
    for _ in range(2):
        assert "The loss is no longer a number" in run(place, *diverging, code=1)[1]
    (folder,) = (place / "runs").glob("mine-budget")
    states = [event["state"] for event in SweepFolder(Folder(folder)).news() if event["state"] == "failed"]
    assert states == ["failed", "failed"]


def test_a_table_of_ones_own_is_run_once_and_reused(place):
    asked = ("ablate", "mine.yaml", "--budget", "budget.yaml", "--seeds", "2")
    found = json.loads(run(place, *asked, "--json")[0])
    few = found["lines"][0]
    assert (few["name"], few["source"], len(few["runs"])) == ("few", "ours", 2)
    assert few["figures"]["size"] == tiny_set.SIDE
    assert few["figures"]["fps"] > 1
    files = {path.name for path in (place / "runs" / "mine-budget").iterdir()}
    assert {"mine.csv", "mine.md", "mine.tex"} <= files
    uri = f"sqlite:///{place}/runs/mlflow.db"
    (parent,) = list_runs(uri, where="tags.`yolab.kind` = 'table'")
    assert {item.path for item in client(uri).list_artifacts(parent["run_id"], "table")} >= {"table/mine.csv"}
    assert len(list_runs(uri, where="tags.`yolab.row` = 'many'")) == 2

    again, told = run(place, *asked, "--json")
    assert "4 of 4 runs are there already" in told
    assert json.loads(again)["lines"][0]["runs"] == few["runs"]
    (row,) = [
        line for line in run(place, "compare", "--recipes", *_one_of_each(uri))[0].splitlines() if "recipes" in line
    ]
    assert "2 seeds" in row


def _one_of_each(uri: str) -> list[str]:
    return [list_runs(uri, where=f"tags.`yolab.row` = '{row}'")[0]["run_id"] for row in ("few", "many")]
