"""Which point comes next, from the trials so far."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests import tiny_set
from yolab.experiment import build
from yolab.search import search_space, searchers
from yolab.search.request import SweepRequest
from yolab.search.search_space import Space
from yolab.search.searchers import SEARCHERS, ListSearcher, SampledSearcher
from yolab.search.trial import best_of, front

BASE = build({}, tiny_set.experiment(Path("data")), "test")
NAMES = ("box", "disc")
SPACE = search_space.parse(
    yaml.safe_load(
        """
        recipe.optimiser.lr: {loguniform: [0.001, 0.1]}
        assigner.policy: {choice: [lead, plain]}
        assigner.top_k: {randint: [5, 16], when: {assigner.policy: lead}}
        assigner.radius: {quniform: [0.25, 1.0, 0.25]}
        """
    ),
    BASE,
    "space.yaml",
)


def sampled(
    searcher: str = "random", trials: int = 12, space: Space = SPACE, known: tuple[dict, ...] = ()
) -> SampledSearcher:
    request = SweepRequest({}, "", {}, searcher, "none", ("ap",), trials, 5, 3, 1, known)
    return SEARCHERS[searcher].build(request, space, BASE, NAMES)


def run(searcher: SampledSearcher, score) -> list[dict]:
    """Try one point after the other; return the rows."""
    rows: dict[str, dict] = {}
    while found := searcher.suggest({}, rows):
        name, point = found
        rows[name] = {"trial": name, "state": "finished", "point": point, "epoch": 3, "ap": score(point)}
    return list(rows.values())


def test_points_are_different_repeatable_and_inside_the_space():
    points = [row["point"] for row in run(sampled(), lambda point: 0.0)]
    assert points == [row["point"] for row in run(sampled(), lambda point: 1.0)]
    assert all(points.count(point) == 1 for point in points)
    assert all(0.001 <= point["recipe.optimiser.lr"] <= 0.1 for point in points)
    assert {point["assigner.radius"] for point in points} <= {0.25, 0.5, 0.75, 1.0}
    assert all(("assigner.top_k" in point) == (point["assigner.policy"] == "lead") for point in points)


def test_tpe_looks_where_the_scores_are_high():
    def score(point: dict) -> float:
        return float(point["assigner.policy"] == "lead") + point.get("assigner.top_k", 0) / 15

    later = [row["ap"] for row in run(sampled("tpe", 40), score)[20:]]
    at_random = [row["ap"] for row in run(sampled("random", 40), score)[20:]]
    assert sum(later) / len(later) > sum(at_random) / len(at_random) + 0.3


def test_tpe_begins_with_what_an_earlier_sweep_has_learned():
    known = tuple(run(sampled("random", 30), lambda point: float(point["assigner.radius"] == 0.5)))
    first = [row["point"]["assigner.radius"] for row in run(sampled("tpe", 8, known=known), lambda point: 0.0)][:3]
    assert Counter(first).most_common(1)[0][0] == 0.5


def test_trials_of_another_space_are_no_hindrance():
    other = {"trial": "old", "state": "finished", "point": {"assigner.radius": 7.0, "assigner.policy": "odd"}, "ap": 1}
    assert len(run(sampled("tpe", 3, known=(other,)), lambda point: 0.0)) == 3


def test_a_space_that_runs_out_ends_the_search():
    narrow = search_space.parse({"model.scale.depth": {"choice": [1.0, 2.0]}}, BASE, "space.yaml")
    assert len(run(sampled("random", 5, narrow), lambda point: 0.0)) == 2


def test_constraints_reject_points_before_they_are_tried():
    limits = {"model.scale.width": {"choice": [0.125, 0.25, 0.5]}, "constraints": ["params <= 150e3"]}
    bounded = search_space.parse(limits, BASE, "space.yaml")
    assert [row["point"] for row in run(sampled("tpe", 3, bounded), lambda point: 0.0)] == [
        {"model.scale.width": 0.125}
    ]


def test_a_trial_that_began_without_tunes_knowledge_is_given_again_with_its_point():
    points = sampled()
    rows = {"trial-000": {"trial": "trial-000", "state": "running", "point": {"assigner.radius": 0.5}}}
    assert points.suggest({}, rows) == ("trial-000", {"assigner.radius": 0.5})
    name, _ = points.suggest({"trial-000": {"assigner.radius": 0.5}}, rows)
    assert name == "trial-001"


@pytest.mark.parametrize("searcher", ["random", "tpe"])
def test_a_trial_that_was_lost_before_it_began_comes_again_beside_those_after_it(searcher):
    peace = {row["trial"]: row for row in run(sampled(searcher), lambda point: 0.0)}
    rows = {name: row for name, row in peace.items() if name not in ("trial-003", "trial-005")}
    given = {}
    while found := sampled(searcher).suggest(given, rows):
        given |= dict([found])
    assert set(given) == {"trial-003", "trial-005"}
    if searcher == "random":
        assert given == {name: peace[name]["point"] for name in given}


def test_what_is_listed_comes_in_order_and_failures_come_again():
    listed = ListSearcher({"a": {"seed": 0}, "b": {"seed": 1}})
    assert listed.suggest({}, {}) == ("a", {"seed": 0})
    assert listed.suggest({"a": {}}, {}) == ("b", {"seed": 1})
    ended = {"a": {"state": "finished"}, "b": {"state": "failed"}}
    assert listed.suggest({}, ended) == ("b", {"seed": 1})
    assert not listed.is_left(ended)
    assert listed.is_left({"a": {"state": "finished"}})


def test_the_front_has_what_nothing_else_beats():
    rows = [
        {"trial": "small", "state": "finished", "ap": 0.3, "gflops": 1.0},
        {"trial": "large", "state": "finished", "ap": 0.5, "gflops": 9.0},
        {"trial": "beaten", "state": "finished", "ap": 0.3, "gflops": 2.0},
        {"trial": "running", "state": "running", "ap": 0.9, "gflops": 0.1},
        {"trial": "no number", "state": "finished", "ap": float("nan"), "gflops": 0.1},
        {"trial": "not known", "state": "finished", "gflops": 0.1},
    ]
    assert front(rows, ("ap", "gflops")) == ["small", "large"]
    assert best_of(rows) == rows[1]
    states = [
        trial.state.name
        for trial in searchers.study_of(SPACE, ("ap", "gflops"), [{**row, "point": {}} for row in rows]).trials
    ]
    assert states == ["COMPLETE", "COMPLETE", "COMPLETE", "RUNNING", "FAIL", "FAIL"]


@pytest.mark.parametrize("objectives", [("ap",), ("ap", "gflops")])
def test_trials_become_a_study_for_figures(objectives):
    rows = [row | {"gflops": 1.0} for row in run(sampled(), lambda point: point["assigner.radius"])]
    rows[0]["state"], rows[1]["state"] = "stopped early", "failed"
    study = searchers.study_of(SPACE, objectives, rows)
    assert Counter(trial.state.name for trial in study.trials)["FAIL"] == 1
    assert len(study.trials) == len(rows)
