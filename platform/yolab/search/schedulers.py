"""Which trials go on: none is stopped, the bad ones are, or they take over what the good ones have learned."""

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from yolab.errors import UsageError
from yolab.experiment import Experiment
from yolab.search.search_space import Domain, Space
from yolab.search.sweep_folder import NAME, POINT, Row

SCHEDULERS = ("asha", "hyperband", "median", "pbt", "none")


def scheduler(name: str, epochs: int, grace: int, reduction: int, space: Space | None) -> TrialScheduler:
    """Return Tune's scheduler of that name; no trial is stopped, or changed, before it has had `grace` epochs."""
    grace = min(grace, epochs)
    compared: dict[str, Any] = {"metric": "ap", "mode": "max", "time_attr": "epoch"}
    if name == "asha":
        return ASHAScheduler(
            **compared, max_t=epochs, grace_period=grace, reduction_factor=reduction, stop_last_trials=False
        )
    if name == "hyperband":
        return HyperBandScheduler(**compared, max_t=epochs, reduction_factor=reduction, stop_last_trials=False)
    if name == "median":
        return MedianStoppingRule(**compared, grace_period=grace)
    if name == "pbt" and space:
        mutations = {POINT: {domain.path: _mutation(domain) for domain in space.domains}}
        return _Population(
            **compared,
            perturbation_interval=grace,
            burn_in_period=grace,
            hyperparam_mutations=mutations,
            custom_explore_fn=functools.partial(_within, space=space),
            log_config=False,
        )
    return FIFOScheduler()


def remember(scheduler: TrialScheduler, events: Sequence[Row]) -> None:
    """Tell ASHA what the trials of a sweep's earlier parts came to, which Tune has forgotten, to hold new ones against
    them. The others begin anew."""
    if not isinstance(scheduler, ASHAScheduler):
        return
    for event in events:
        trial = SimpleNamespace(trial_id=event[NAME])
        scheduler.on_trial_add(None, trial)
        scheduler.on_trial_result(None, trial, event)
        scheduler.on_trial_remove(None, trial)


def check(name: str, experiment: Experiment, space: Space, objectives: tuple[str, ...]) -> None:
    """Raise UsageError if a scheduler can't search this space, or for these objectives."""
    if len(objectives) > 1 and name != "none":
        raise UsageError(
            f"--scheduler {name} stops trials by AP alone, which would cut off the cheap end of the front of "
            f"{', '.join(objectives)}: take --scheduler none."
        )
    if name == "hyperband" and experiment.compute.workers > 1:
        raise UsageError(
            "--scheduler hyperband pauses trials, which trials of several workers can't: take asha, or "
            "compute.workers=1."
        )
    if name != "pbt":
        return
    if experiment.compute.workers > 1:
        raise UsageError(
            "--scheduler pbt hands weights from one trial to another, which trials of several workers can't: take "
            "compute.workers=1, or asha."
        )
    for domain in space.domains:
        if domain.path.startswith("model"):
            raise UsageError(
                f"--scheduler pbt can't search {domain.path}: the weights of one model don't fit into another. Take it "
                "out of the space, or take asha."
            )
        if domain.when:
            raise UsageError(f"--scheduler pbt can't search {domain.path}, which depends on another path: take asha.")
        if domain.path == "recipe.epochs":
            raise UsageError("--scheduler pbt can't search recipe.epochs: all trials must be as long. Take it out.")
    if space.constraints:
        raise UsageError("--scheduler pbt changes points on the way, without a look at constraints: take asha.")


class _Population(PopulationBasedTraining):
    """PBT with points from our search, which Tune refuses because others would be misled by points that change; ours
    takes no notice of them."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(SimpleNamespace(search_alg=None), trial)

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> Any:
        config, operations = super()._get_new_config(trial, trial_to_clone)
        return config | {NAME: trial.config[NAME]}, operations


def _mutation(domain: Domain) -> Any:
    listed = domain.listed()
    if listed is not None:
        return listed
    return (tune.loguniform if domain.kind == "loguniform" else tune.uniform)(*domain.values)


def _within(config: dict[str, Any], space: Space) -> dict[str, Any]:
    """Return what PBT made of a trial's point, brought back between the bounds, which it takes no notice of."""
    point = dict(config[POINT])
    for domain in space.domains:
        if domain.listed() is None:
            low, high = domain.values
            point[domain.path] = min(max(point[domain.path], low), high)
    return config | {POINT: point}
