"""Search spaces: a YAML file of experiment paths and what may stand there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolab import yaml_file
from yolab.errors import UsageError
from yolab.experiment import Experiment, build, nearest

KINDS = ("choice", "uniform", "loguniform", "randint")
_MOST_DRAWS = 100  # for each point, before a space counts as exhausted

Domains = dict[str, dict[str, list[Any]]]  # path -> {kind: values}


def read(path: Path, base: Experiment) -> Domains:
    """Return the domain of each path of a space, as the file has it.

    `choice: [a, b]`; `uniform: [low, high]`; `loguniform: [low, high]`; `randint: [low, high]`, without high. Every
    choice and bound must be possible in the experiment. Raises UsageError.
    """
    domains = yaml_file.read(path)
    for where, domain in domains.items():
        if where.endswith(".preset"):
            raise UsageError(f"{where} in {path} can't be searched: name the values that differ, each by its path.")
        if where not in base.flat():
            raise UsageError(f"{where} is unknown (in {path}). Did you mean {nearest(where, base.flat())}?")
        if not isinstance(domain, Mapping) or len(domain) != 1 or next(iter(domain)) not in KINDS:
            raise UsageError(f"{where} in {path} must be one of {', '.join(KINDS)}, such as `choice: [1, 2]`.")
        kind, values = next(iter(domain.items()))
        if not isinstance(values, list) or not values or (kind != "choice" and len(values) != 2):
            raise UsageError(
                f"{where} in {path}: {kind} takes a list, {'[low, high]' if kind != 'choice' else '[a, b]'}."
            )
        if kind != "choice" and not (all(isinstance(v, (int, float)) for v in values) and values[0] < values[1]):
            raise UsageError(f"{where} in {path}: {kind} takes two numbers, the lower one first.")
        if kind == "loguniform" and values[0] <= 0:
            raise UsageError(f"{where} in {path}: loguniform takes numbers above 0.")
        for value in [values[0], values[1] - 1] if kind == "randint" else values:
            build(base.model_dump(), {where: value}, source="the experiment", changed_by=str(path))
    return domains


def draw(domains: Domains, points: int, seed: int) -> list[dict[str, Any]]:
    """Return so many different points of a space, at random. Raises UsageError if it doesn't have as many."""
    random = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    for _ in range(_MOST_DRAWS * points):
        point = {where: _value(domain, random) for where, domain in domains.items()}
        if point not in found:
            found.append(point)
        if len(found) == points:
            return found
    raise UsageError(f"The search space has only {len(found)} different points: lower --trials, or widen the space.")


def at(base: Experiment, point: Mapping[str, Any]) -> Experiment:
    """Return the experiment at a point of a space: values by dotted path."""
    return build(base.model_dump(), point, source="the experiment", changed_by="the search space")


def _value(domain: Mapping[str, list[Any]], random: np.random.Generator) -> Any:
    kind, values = next(iter(domain.items()))
    if kind == "choice":
        return values[random.integers(len(values))]
    low, high = values
    if kind == "randint":
        return int(random.integers(low, high))
    if kind == "loguniform":
        return float(np.exp(random.uniform(np.log(low), np.log(high))))
    return float(random.uniform(low, high))
