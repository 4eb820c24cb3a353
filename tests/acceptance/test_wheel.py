"""yolab as somebody has it who installs the wheel, in a fresh environment, far from the repository."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.acceptance.conftest import REPOSITORY, Installed

# The environment is several GB
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1500)]


def test_the_wheel_has_every_experiment_table_budget_and_space(wheel: Path) -> None:
    files = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("pipelines", "search_spaces")
        for path in (REPOSITORY / folder).rglob("*.yaml")
    }
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.removeprefix("yolab/shipped/") for name in names if name.endswith(".yaml")} == files


def test_a_sweep_over_shipped_files_runs_from_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    def yolab(*arguments: str, seconds: float = 120) -> str:
        done = installed(*arguments, folder=tmp_path, seconds=seconds)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(yolab("ls", "--json"))
    assert ("experiment", "demo") in {(item["kind"], item["name"]) for item in listed}
    yolab("cp", "demo", "mine.yaml", "--kind", "experiment")
    yolab("data", "demo", "data/demo")
    yolab("data", "show", "mine.yaml", "--most", "2")
    yolab("data", "show", "demo", "--most", "2")

    small = ("recipe.epochs=1", "data.image_size=96", "model.scale.width=0.25")
    sweep = ("sweep", "run", "demo", "--space", "assigner", "--trials", "2", "--name", "small", "--json")
    trials = json.loads(yolab(*sweep, *small, seconds=600))["trials"]
    assert [trial["state"] for trial in trials] == ["finished", "finished"]
    named = {run["name"] for run in json.loads(yolab("runs", "--sweep", "small", "--json"))}
    assert named == {f"small/{trial['trial']}" for trial in trials}
