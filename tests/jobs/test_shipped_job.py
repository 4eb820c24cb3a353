from pathlib import Path

import pytest
import yaml

from yolab.errors import UsageError
from yolab.experiment import load, shipped
from yolab.experiment.shipped import Kind
from yolab.jobs import shipped_job
from yolab.search import ablation_table, search_space


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_everything_that_is_shipped_says_what_it_is_and_experiments_and_tables_how_they_run() -> None:
    items = shipped_job.ls().items
    tables = {"scheduler", "searcher", "assignment policy", "optimiser", "augmentation", "gate"}
    assert {item.kind for item in items} == {*Kind, "model", *tables}
    assert all(item.about for item in items)
    assert all(item.command for item in items if item.kind in (Kind.EXPERIMENT, Kind.TABLE))
    [demo] = [item for item in items if (item.kind, item.name) == ("experiment", "demo")]
    assert demo.command == "yolab train pipelines/experiments/demo.yaml"


@pytest.mark.parametrize("kind", Kind)
def test_a_copy_of_each_file_means_what_the_file_means_and_its_first_line_names_the_copy(kind: Kind) -> None:
    for name in shipped.names(kind):
        copy = shipped_job.cp(name, f"own/{name}.yaml", kind=kind)
        assert yaml.safe_load(copy.path.read_text()) == yaml.safe_load(shipped.path_of(kind, name).read_text())
        if kind in (Kind.EXPERIMENT, Kind.TABLE):
            assert f"own/{name}.yaml" in copy.path.read_text().splitlines()[0].split()


def test_copies_are_used_like_any_file() -> None:
    for name, kind in (("demo", "experiment"), ("recipe", "space"), ("table3", "table"), ("smoke", "budget")):
        shipped_job.cp(name, f"{kind}/{name}.yaml", kind=kind)
    assert load("experiment/demo.yaml") == load("demo")
    assert search_space.read("space/recipe.yaml", load("demo")) == search_space.read("recipe", load("demo"))
    assert ablation_table.read("table/table3.yaml") == ablation_table.read("table3")
    assert ablation_table.read_budget("budget/smoke.yaml") == ablation_table.read_budget("smoke")


def test_what_an_experiment_extends_is_found_from_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shipped" / shipped.FOLDERS[Kind.EXPERIMENT]
    folder.mkdir(parents=True)
    (folder / "base.yaml").write_text("name: base\nrecipe: {epochs: 7}\n")
    (folder / "child.yaml").write_text("# A child.\nextends: base.yaml  # the parent\nname: child\n")
    monkeypatch.setattr(shipped, "ROOT", tmp_path / "shipped")
    # Not the file of that name beside the copy, even if that is the copy itself
    copy = shipped_job.cp("child", "base.yaml")
    assert (load(copy.path).name, load(copy.path).recipe.epochs) == ("child", 7)


def test_nothing_is_overwritten_and_a_name_that_is_not_clear_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("precious")
    for name, kind, told in (
        ("bccd", None, "there already"),
        ("demo", None, "say --kind experiment or --kind space"),
        ("bcd", None, "Did you mean bccd"),
        ("bccd", "space", "Nothing called bccd"),
        ("bccd", "model", "--kind can't be"),
        ("yolov7", None, "is a model"),
    ):
        with pytest.raises(UsageError, match=told):
            shipped_job.cp(name, "mine.yaml", kind=kind)
    assert (tmp_path / "mine.yaml").read_text() == "precious"
