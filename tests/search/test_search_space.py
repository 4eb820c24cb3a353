"""Search spaces are checked against the experiment before anything runs."""

from pathlib import Path

import pytest
import yaml

from tests import tiny_set
from yolab.errors import UsageError
from yolab.experiment import build
from yolab.search import search_space

SHIPPED = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
BASE = build({}, tiny_set.experiment(Path("data")), "test")
NAMES = ("box", "disc")


def space(text: str) -> search_space.Space:
    return search_space.parse(yaml.safe_load(text), BASE, "space.yaml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_spaces_fit_an_experiment(path):
    assert search_space.read(path, BASE).domains


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("assigner.topk: {randint: [5, 21]}", "Did you mean assigner.top_k?"),
        ("assigner.top_k: {randint: [21, 5]}", "the lower number first"),
        ("assigner.top_k: {randint: [few, many]}", "takes numbers"),
        ("assigner.top_k: {randint: [0, 5]}", "assigner.top_k can't be 0"),
        ("assigner.top_k: {randint: [1.5, 5]}", "takes integers"),
        ("assigner.top_k: {qrandint: [1, 5]}", "[low, high, step]"),
        ("assigner.radius: {quniform: [0.1, 0.5, 0]}", "must be above 0"),
        ("recipe.optimiser.lr: {loguniform: [0, 0.1]}", "above 0"),
        ("assigner.top_k: [5, 10]", "must be one of choice"),
        ("assigner.top_k: {choice: 5}", "takes a list"),
        ("model.scale.depth: {choice: [1.0, 99.0]}", "model.scale.depth can't be 99.0"),
        ("recipe.preset: {choice: [p5, tiny]}", "can't be searched"),
        ("compute.workers: {choice: [1, 2]}", "all trials share it"),
        ("data.path: {choice: [a, b]}", "all trials share it"),
        ("model.scale: {choice: [{depth: 2.0}]}\nmodel.scale.depth: {choice: [1.0]}", "searched twice"),
        ("assigner.top_k: {randint: [5, 9], when: {assigner.policy: lead}}", "must stand above it"),
        (
            "assigner.policy: {choice: [lead, plain]}\nassigner.top_k: {randint: [5, 9], when: {assigner.policy: led}}",
            "which it never is",
        ),
        ("assigner.top_k: {randint: [5, 9]}\nconstraints: [size <= 3]", "is no constraint"),
        ("assigner.top_k: {randint: [5, 9]}\nconstraints: params <= 3", "takes a list"),
        ("constraints: [params <= 3]", "no path to search"),
    ],
)
def test_a_wrong_space_is_refused_in_words(text, told):
    with pytest.raises(UsageError) as refusal:
        space(text)
    assert told in str(refusal.value)


def test_a_point_changes_the_experiment_there_and_nowhere_else():
    point = search_space.at(BASE, {"assigner.top_k": 7})
    assert {path for path, value in point.flat().items() if BASE.flat()[path] != value} == {"assigner.top_k"}


def test_a_grid_has_every_point_once_and_a_conditional_path_only_where_its_condition_holds():
    points = space(
        "assigner.policy: {choice: [lead, plain]}\n"
        "assigner.top_k: {qrandint: [5, 15, 5], when: {assigner.policy: lead}}\n"
        "assigner.radius: {quniform: [0.25, 0.5, 0.25]}"
    ).points()
    assert points is not None
    found = list(points)
    assert len(found) == (3 + 1) * 2
    assert all(("assigner.top_k" in point) == (point["assigner.policy"] == "lead") for point in found)
    assert space("assigner.radius: {uniform: [0.25, 0.5]}").points() is None


def test_a_point_that_breaks_a_constraint_or_can_not_be_built_is_told_why():
    bounded = space("model.scale.width: {choice: [0.125, 0.25]}\nconstraints: [params <= 150e3, gflops < 1]")
    assert search_space.why_not(bounded, BASE, NAMES, {"model.scale.width": 0.125}) is None
    told = search_space.why_not(bounded, BASE, NAMES, {"model.scale.width": 0.25})
    assert told is not None
    assert told.startswith("params <= 150e3, but it is")
    impossible = search_space.why_not(bounded, BASE, NAMES, {"data.image_size": 33})
    assert impossible is not None
    assert "data.image_size" in impossible
