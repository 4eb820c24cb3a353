"""Which trials go on: the rows of the table, and one that is added from outside."""

import pytest
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from yolab.cluster.tune_search import scheduler_of
from yolab.errors import UsageError
from yolab.experiment import build
from yolab.search import schedulers
from yolab.search.schedulers import SCHEDULERS, Scheduler, Settings, TuneClass
from yolab.search.search_space import parse

BASE = build({"name": "test"}, {"recipe.epochs": 12}, "test")
RECIPE = BASE.recipe
SPACE = parse({"recipe.optimiser.lr": {"loguniform": [0.001, 0.1]}}, BASE, "space.yaml")


class AfterTheFirst(FIFOScheduler):
    """Stops every trial but the first after `epochs`."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def on_trial_result(self, controller: object, trial: object, result: dict) -> str:
        return self.STOP if result["epoch"] >= self.epochs else self.CONTINUE


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_row_says_what_it_does_and_makes_one_of_tunes_schedulers(name):
    settings = schedulers.settings_for(name, RECIPE, SPACE, {"grace": 3 if "grace" in SCHEDULERS[name].takes else None})
    assert isinstance(scheduler_of(name, settings), TrialScheduler)
    assert SCHEDULERS[name].help
    assert 0 < SCHEDULERS[name].share(settings) <= 1
    schedulers.check(name, BASE, SPACE, ("ap",))


def test_a_scheduler_from_outside_is_one_row(monkeypatch):
    def build_it(settings: Settings) -> TuneClass:
        return TuneClass(f"{__name__}:AfterTheFirst", {"epochs": settings.grace})

    row = Scheduler("stops all after --grace", build_it, takes=("grace",), share=lambda s: s.grace / s.epochs)
    monkeypatch.setitem(SCHEDULERS, "after the first", row)
    schedulers.check("after the first", BASE, SPACE, ("ap",))
    settings = schedulers.settings_for("after the first", RECIPE, SPACE, {"grace": 4})
    made = scheduler_of("after the first", settings)
    assert [made.on_trial_result(None, None, {"epoch": epoch}) for epoch in (3, 4)] == ["CONTINUE", "STOP"]
    assert SCHEDULERS["after the first"].share(settings) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("name", "option"), [("none", "grace"), ("median", "reduction"), ("hyperband", "grace")])
def test_a_setting_that_does_nothing_is_refused(name, option):
    with pytest.raises(UsageError, match=f"--{option} does nothing with --scheduler {name}"):
        schedulers.settings_for(name, RECIPE, SPACE, {option: 2})


def test_no_trial_is_judged_before_its_first_score():
    seldom = RECIPE.model_copy(update={"evaluate_every": 8})
    assert schedulers.settings_for("asha", seldom, SPACE, {"grace": None}).grace == 8
    assert schedulers.settings_for("asha", RECIPE, SPACE, {"grace": None}).grace == 5
    with pytest.raises(UsageError, match="before their first score, after epoch 8: take 8 or more"):
        schedulers.settings_for("asha", seldom, SPACE, {"grace": 4})
    with pytest.raises(UsageError, match="judges trials from their first epoch on"):
        schedulers.check("hyperband", BASE.model_copy(update={"recipe": seldom}), SPACE, ("ap",))


def test_an_unknown_scheduler_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match="one of asha, hyperband, median, pbt, none"):
        schedulers.find("magic")
