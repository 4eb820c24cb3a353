"""Population based training with yolab's points."""

import functools
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

from yolab.search.search_space import Domain, Space
from yolab.search.trial import NAME, POINT


class Population(PopulationBasedTraining):
    """PBT with points from our search, which Tune refuses because others would be misled by points that change; ours
    takes no notice of them."""

    def __init__(self, space: Space, **arguments: Any) -> None:
        mutations = {POINT: {domain.path: _mutation(domain) for domain in space.domains}}
        explore = functools.partial(_within, space=space)
        super().__init__(hyperparam_mutations=mutations, custom_explore_fn=explore, **arguments)

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
