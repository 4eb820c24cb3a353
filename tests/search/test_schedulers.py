"""Which trials go on."""

from types import SimpleNamespace

from yolab.search import schedulers


def verdict(stopper: schedulers.TrialScheduler, ap: float) -> str:
    trial = SimpleNamespace(trial_id="new")
    stopper.on_trial_add(None, trial)
    return stopper.on_trial_result(None, trial, {"epoch": 3, "ap": ap})


def test_asha_holds_the_trials_of_a_later_part_against_those_of_the_earlier_ones():
    events = [{"trial": "trial-000", "state": "running", "point": {}, "params": 1e6}]
    events += [{"trial": f"trial-{number:03d}", "epoch": 3, "ap": 0.1 * number} for number in range(6)]
    for ap, expected in ((0.2, "STOP"), (0.9, "CONTINUE")):
        stopper = schedulers.scheduler("asha", epochs=12, grace=3, reduction=2, space=None)
        assert verdict(stopper, ap) == "CONTINUE"  # nothing to hold it against
        stopper = schedulers.scheduler("asha", epochs=12, grace=3, reduction=2, space=None)
        schedulers.remember(stopper, events)
        assert verdict(stopper, ap) == expected
