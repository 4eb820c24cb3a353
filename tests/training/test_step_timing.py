"""A few steps, timed before a run."""

import time

from tests import tiny_set
from yolab.data import loaded_data
from yolab.experiment import build
from yolab.training import loop
from yolab.training.step_timing import time_steps


def test_a_step_is_timed_without_the_evaluation_however_short_an_epoch_and_leaves_nothing(
    small_set, tmp_path, monkeypatch
):
    def slow(*anything):
        time.sleep(5)
        return {}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "evaluate", slow)
    small = {"recipe__epochs": 2, "recipe__evaluate_every": 1, "recipe__batch": 24, "compute__image_cache_gib": 0}
    experiment = build({}, tiny_set.experiment(small_set, **small), "test")  # one batch an epoch
    timing = time_steps(experiment, loaded_data.load(experiment.data))
    assert timing.step_seconds < 3
    assert timing.memory_bytes > 10**8
    assert list(tmp_path.iterdir()) == []
