"""Search spaces are checked against the experiment before anything runs."""

from pathlib import Path

import pytest

from tests import tiny_set
from yolab.cluster import spaces
from yolab.errors import UsageError
from yolab.experiment import build

SHIPPED = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
BASE = build({}, tiny_set.experiment(Path("data")), "test")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_spaces_fit_an_experiment(path):
    assert spaces.read(path, BASE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("assigner.topk: {randint: [5, 21]}", "Did you mean assigner.top_k?"),
        ("assigner.top_k: {randint: [21, 5]}", "the lower one first"),
        ("assigner.top_k: {randint: [few, many]}", "two numbers"),
        ("assigner.top_k: {randint: [0, 5]}", "assigner.top_k can't be 0"),
        ("assigner.top_k: [5, 10]", "must be one of choice"),
        ("assigner.top_k: {choice: 5}", "takes a list"),
        ("model.scale.depth: {choice: [1.0, 99.0]}", "model.scale.depth can't be 99.0"),
        ("recipe.preset: {choice: [p5, tiny]}", "can't be searched"),
    ],
)
def test_a_wrong_space_is_refused_in_words(tmp_path, text, told):
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        spaces.read(tmp_path / "space.yaml", BASE)


def test_a_point_changes_the_experiment_there_and_nowhere_else():
    point = spaces.at(BASE, {"assigner.top_k": 7})
    assert {path for path, value in point.flat().items() if BASE.flat()[path] != value} == {"assigner.top_k"}


def test_points_are_different_repeatable_and_inside_the_space():
    domains = {
        "model.scale.depth": {"choice": [1.0, 2.0]},
        "assigner.top_k": {"randint": [5, 8]},
        "recipe.optimiser.lr": {"loguniform": [0.001, 0.1]},
        "data.augment.scale": {"uniform": [0.1, 0.9]},
    }
    points = spaces.draw(domains, 20, seed=3)
    assert points == spaces.draw(domains, 20, seed=3)
    assert points != spaces.draw(domains, 20, seed=4)
    assert {point["assigner.top_k"] for point in points} == {5, 6, 7}
    assert all(0.001 <= point["recipe.optimiser.lr"] <= 0.1 for point in points)


def test_a_space_with_fewer_points_than_trials_is_refused():
    with pytest.raises(UsageError, match="only 2 different points"):
        spaces.draw({"model.scale.depth": {"choice": [1.0, 2.0]}}, 3, seed=0)
