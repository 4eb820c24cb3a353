from pathlib import Path

import pytest

from yolab.errors import UsageError
from yolab.experiment import load, shipped
from yolab.experiment.shipped import Kind, find

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", Kind)
def test_what_is_shipped_is_what_the_repository_has(kind: Kind) -> None:
    files = [path.stem for path in sorted((REPOSITORY / shipped.FOLDERS[kind]).glob("*.yaml"))]
    assert shipped.names(kind) == [name for name in files if name != shipped.PUBLISHED]


@pytest.mark.parametrize("named", ["demo", "demo.yaml", "pipelines/experiments/demo.yaml"])
def test_a_shipped_experiment_is_found_by_its_name_and_by_its_path_in_the_repository(named: str) -> None:
    assert load(named, ["recipe.epochs=1"]).name == "demo"


def test_one_s_own_file_of_that_name_comes_first_and_a_folder_does_not_hide_a_name(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    assert find(Kind.EXPERIMENT, "demo") == shipped.path_of(Kind.EXPERIMENT, "demo")
    (tmp_path / "demo.yaml").write_text("name: mine\n")
    assert load("demo.yaml").name == "mine"
    assert load("demo").name == "demo"


def test_an_experiment_can_extend_a_shipped_one_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: demo\nname: mine\n")
    assert load("mine.yaml").model_copy(update={"name": "demo"}) == load("demo")


@pytest.mark.parametrize(
    ("kind", "named", "told"),
    [
        (Kind.EXPERIMENT, "bcd", "There is no experiment bcd, .* Did you mean bccd"),
        (Kind.SPACE, "compound_scalin", "There is no space .* Did you mean compound_scaling"),
        (Kind.TABLE, "published", "There is no table published"),
        (Kind.BUDGET, "smok", "Did you mean smoke"),
        (Kind.EXPERIMENT, "pipelines/experiments/bcd.yaml", "Can't read pipelines/.* Did you mean bccd"),
        (Kind.EXPERIMENT, "elsewhere/demo.yaml", "Can't read elsewhere/demo.yaml"),
        (Kind.SPACE, "pipelines/experiments/demo.yaml", "Can't read"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(kind: Kind, named: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        find(kind, named)
