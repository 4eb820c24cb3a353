"""yolab from Python: a sweep inside a running event loop, by a scheduler that comes from outside."""

import asyncio

import pytest
from ray.tune.schedulers import FIFOScheduler

import yolab
from tests import tiny_set
from yolab.experiment import build
from yolab.jobs.sweep_job import SweepResult
from yolab.search.schedulers import SCHEDULERS, Scheduler, TuneClass
from yolab.search.trial import TrialState

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]


class StopsEverySecond(FIFOScheduler):
    """Lets every second trial have no more than two epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def on_trial_result(self, controller, trial, result) -> str:
        if trial.trial_id not in self.order:
            self.order.append(trial.trial_id)
        return self.STOP if self.order.index(trial.trial_id) % 2 and result["epoch"] >= 2 else self.CONTINUE


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a scheduler that yolab doesn't have."""
    row = Scheduler("stops every second trial", lambda settings: TuneClass(f"{__name__}:StopsEverySecond", {}))
    monkeypatch.setitem(SCHEDULERS, "outside", row)
    return "outside"


def test_a_sweep_runs_inside_an_event_loop_with_a_scheduler_from_outside(small_set, tmp_path, monkeypatch, outside):
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    experiment = build({}, tiny_set.experiment(small_set, recipe__epochs=4), "test")
    space = {"assigner.top_k": {"randint": [5, 16]}}

    async def notebook() -> SweepResult:
        await asyncio.sleep(0)
        return yolab.sweep(experiment, space, trials=2, name="cell", scheduler=outside, storage=tmp_path / "runs")

    found = asyncio.run(notebook())
    assert found.state is TrialState.FINISHED
    table = found.trials.set_index("trial")
    assert sorted(table["state"]) == ["finished", "stopped early"]
    assert sorted(table["epoch"]) == [2, 4]
    assert set(table.columns) >= {"assigner.top_k", "ap", "params", "gflops", "weights"}
    assert found.best["trial"] == table["ap"].idxmax()
    again = yolab.resume("cell", more_trials=1, storage=tmp_path / "runs")
    assert len(again.rows) == 3
    with pytest.raises(yolab.UsageError, match="go on by `yolab sweep resume cell`"):
        yolab.sweep(experiment, space, trials=2, name="cell", storage=tmp_path / "runs")
