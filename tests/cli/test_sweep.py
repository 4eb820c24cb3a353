"""What `yolab sweep`, `ablate` and `plan` refuse before anything is made."""

import json
from pathlib import Path

import pytest
import yaml

from tests import tiny_set
from tests.cli.conftest import Yolab
from yolab.experiment import build
from yolab.search.request import SweepRequest
from yolab.search.sweep_folder import SweepFolder
from yolab.storage import Folder, claim

TABLES = Path(__file__).parents[2] / "pipelines" / "tables"


@pytest.fixture
def place(small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an experiment and a space."""
    monkeypatch.chdir(tmp_path)
    described = build({}, tiny_set.experiment(small_set), "test").model_dump()
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(described))
    (tmp_path / "space.yaml").write_text("assigner.top_k: {randint: [5, 16]}\n")
    (tmp_path / "lr.yaml").write_text("recipe.optimiser.lr: {loguniform: [0.01, 0.1]}\n")
    (tmp_path / "depth.yaml").write_text("model.scale.depth: {choice: [1.0, 2.0]}\n")
    (tmp_path / "none.yaml").write_text("model.scale.depth: {choice: [1.0]}\nconstraints: [params < 10]\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list", "experiment.yaml"], "unexpected extra argument"),
        (["resume"], "Missing argument 'NAME'"),
        (
            ["--space", "space.yaml", "--scheduler", "none", "--grace", "3"],
            "--grace does nothing with --scheduler none",
        ),
        (["--space", "space.yaml", "--trials", "2", "--grace", "50"], "--grace 50 does nothing"),
        (["statu", "scaling"], "Did you mean status?"),
        (["--space", "space.yaml", "--price", "3"], "does nothing without --max-cost"),
        (["--space", "space.yaml", "--searcher", "magic"], "one of random, grid, tpe"),
        (["--space", "space.yaml", "--scheduler", "magic"], "one of asha, hyperband, median, pbt, none"),
        (["--space", "space.yaml", "--objective", "speed"], "one of ap, ap50"),
        (["--space", "space.yaml", "--objective", "ap", "--objective", "ap"], "names the same twice"),
        (["--space", "space.yaml", "--objective", "ap", "--objective", "params", "--scheduler", "asha"], "cut off"),
        (["--space", "lr.yaml", "--searcher", "grid"], "needs a space that ends"),
        (["--space", "space.yaml", "--trials", "many"], "Invalid value for '--trials'"),
        (["--space", "space.yaml", "--trials", "12"], "only 11 different points"),
        (["--space", "depth.yaml", "--trials", "2", "--scheduler", "pbt"], "weights of one model"),
        (["--space", "space.yaml", "--trials", "2", "--warm-start", "old"], "--warm-start is for --searcher tpe"),
        (["--space", "none.yaml", "--trials", "1"], "params < 10, but it is"),
        (["--space", "space.yaml", "--max-cost", "3"], "needs --price"),
        (["--space", "space.yaml", "--name", "a/b"], "--name can't be"),
    ],
)
def test_a_sweep_that_can_not_be_is_refused_and_leaves_nothing(yolab, place, arguments, told):
    answer = yolab("sweep", *(["experiment.yaml"] if "--space" in arguments else []), *arguments, "--json")
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert not (place / "runs").exists()


@pytest.fixture
def swept(place: Path) -> Path:
    """The folder of a sweep of which two trials have ended, and nobody works on it."""
    experiment = yaml.safe_load((place / "experiment.yaml").read_text())
    space = {"assigner.top_k": {"randint": [5, 16]}}
    request = SweepRequest(experiment, "digest", space, "tpe", "none", ("ap", "gflops"), 4, 5, 3, 1)
    folder = SweepFolder(Folder(place / "runs" / "scaling"))
    claim.claim(folder.place, request.work())
    for name, ap, gflops in (("trial-000", 0.1, 3.0), ("trial-001", 0.4, 3.0)):
        point = {"assigner.top_k": 5 + int(10 * ap)}
        known = {"point": point, "params": 1e6, "gflops": gflops, "ap": ap, "epoch": 3, "time_total_s": 2.0}
        folder.append({"trial": name, "state": "finished", **known})
    folder.append({"trial": "trial-002", "state": "running", "point": {"assigner.top_k": 15}})
    return folder.place.path


def test_sweeps_are_listed_and_their_trials_shown(yolab: Yolab, swept: Path) -> None:
    [listed] = yolab("sweep", "list", "--json").json()
    assert {"name": "scaling", "state": "stopped", "ended": 2, "trials": 4, "ap": 0.4}.items() <= listed.items()
    shown = yolab("sweep", "status", "scaling", "--json").json()
    assert (shown["name"], shown["state"], shown["best"]["trial"]) == ("scaling", "stopped", "trial-001")
    rows = shown["trials"]
    assert [(row["trial"], row["front"]) for row in rows] == [
        ("trial-001", True),
        ("trial-000", False),
        ("trial-002", False),
    ]
    assert rows[-1]["state"] == "stopped"
    assert "trial-001" in yolab("sweep", "status", "scaling").out


def test_a_storage_without_sweeps_is_said_to_have_none(yolab: Yolab, place: Path) -> None:
    answer = yolab("sweep", "list", "--storage", place / "elsewhere")
    assert answer.code == 0
    assert f"No sweeps in {place / 'elsewhere'} yet" in answer.err


def test_only_a_sweep_that_runs_can_be_stopped_and_only_one_that_is_there_shown(yolab: Yolab, swept: Path) -> None:
    assert "Nobody works on the sweep scaling" in yolab("sweep", "stop", "scaling").err
    assert "Did you mean scaling?" in yolab("sweep", "status", "scalign").err
    (swept / "alive").write_text("another-node 1")
    assert yolab("sweep", "stop", "scaling").code == 0
    assert (swept / "stop").exists()
    assert yolab("sweep", "list", "--json").json()[0]["state"] == "running"


def test_a_sweep_goes_on_only_with_the_data_that_it_had_and_more_trials_by_a_plus(yolab: Yolab, swept: Path) -> None:
    assert "have changed since" in yolab("sweep", "resume", "scaling").err
    assert "have changed since" in yolab("sweep", "resume", "scaling", "--more-trials", "20").err
    assert json.loads((swept / "run.json").read_text())["work"]["trials"] == 4


def test_a_fork_needs_a_space_and_a_plan_names_what_it_can_not(yolab: Yolab, swept: Path) -> None:
    assert "Missing option '--space'" in yolab("sweep", "fork", "scaling").err
    assert "one of asha" in yolab("plan", "experiment.yaml", "--scheduler", "magic").err
    assert "Did you mean table3?" in yolab("plan", "tabel3", "--tables", TABLES).err


def test_a_table_names_its_rows_and_a_row_that_can_not_be(yolab: Yolab, place: Path, small_set: Path) -> None:
    wrong = yolab("ablate", "table3", "--rows", "depth", "--tables", TABLES, "--data", small_set)
    assert "Did you mean 'depth only (2.0 d)'?" in wrong.err
    impossible = yolab("ablate", "table6", "data.image_size=100", "--tables", TABLES, "--data", small_set)
    assert impossible.code == 2
    assert "data.image_size" in impossible.err
    missing = yolab("ablate", "table1", "--tables", place / "none")
    assert "--tables DIR" in missing.err
    assert not (place / "runs").exists()
