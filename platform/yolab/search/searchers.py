"""Which point a sweep tries next: one of a list, one at random, or where Optuna expects most, after the others."""

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial
from ray import cloudpickle
from ray.tune.search import Searcher

from yolab.experiment import Experiment
from yolab.search.search_space import Domain, Point, Space, why_not
from yolab.search.sweep_folder import ENDED, NAME, OBJECTIVES, POINT, SUCCEEDED, Events, Row

SEARCHERS = ("random", "grid", "tpe")
_LEARNED_DRAWS = 20  # for each point; then at random, in case Optuna insists on what was tried or is forbidden
_RANDOM_DRAWS = 100  # before a space counts as exhausted

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Points(Protocol):
    """Where the points of a sweep come from."""

    def next(self, given: Mapping[str, Point], rows: Mapping[str, Row]) -> tuple[str, Point] | None:
        """Return the name and the point of the next trial, None if there is none: `given` are those that Tune has,
        `rows` those that anything is recorded of."""

    def left(self, rows: Mapping[str, Row]) -> bool:
        """Return whether anything is left to do."""


@dataclass(frozen=True)
class Listed:
    """Points that are known beforehand, by the names of their trials. Those that failed are tried again."""

    points: Mapping[str, Point]

    def next(self, given: Mapping[str, Point], rows: Mapping[str, Row]) -> tuple[str, Point] | None:
        for name, point in self.points.items():
            if name not in given and rows.get(name, {}).get("state") not in SUCCEEDED:
                return name, point
        return None

    def left(self, rows: Mapping[str, Row]) -> bool:
        return any(rows.get(name, {}).get("state") not in ENDED for name in self.points)


@dataclass(frozen=True)
class Sampled:
    """So many different points of a space, around `base`. `searcher` is random or tpe, which learns from the trials so
    far and from `known`, those of earlier sweeps; `names` are the classes."""

    space: Space
    base: Experiment
    names: tuple[str, ...]
    searcher: str
    objectives: tuple[str, ...]
    trials: int
    known: tuple[Row, ...] = ()

    def next(self, given: Mapping[str, Point], rows: Mapping[str, Row]) -> tuple[str, Point] | None:
        for name, row in rows.items():  # begun, but Tune was killed before it had noted so
            if name not in given and row["state"] not in ENDED:
                return name, row[POINT]
        running = {name: {"state": "running", POINT: point} for name, point in given.items()}
        so_far = running | dict(rows)
        if len(so_far) >= self.trials:
            return None
        point = self._propose(list(so_far.values()))
        return None if point is None else (f"trial-{len(so_far):03d}", point)

    def left(self, rows: Mapping[str, Row]) -> bool:
        return any(row["state"] not in ENDED for row in rows.values()) or self.next({}, rows) is not None

    def _propose(self, so_far: Sequence[Row]) -> Point | None:
        """Return a new point that nothing forbids; the same one for the same trials so far."""
        seen = [row[POINT] for row in so_far]
        seed = int(np.random.default_rng([self.base.seed, len(so_far)]).integers(2**31))
        learned = itertools.islice(self._learned(so_far, seed), _LEARNED_DRAWS if self.searcher == "tpe" else 0)
        for point in itertools.chain(learned, itertools.islice(anywhere(self.space, seed), _RANDOM_DRAWS)):
            if point not in seen:
                if why_not(self.space, self.base, self.names, point) is None:
                    return point
                seen.append(point)
        return None

    def _learned(self, so_far: Sequence[Row], seed: int) -> Iterator[Point]:
        study = study_of(self.space, self.objectives, (*self.known, *so_far), _tpe(seed))
        while True:
            yield _suggested(study.ask(), self.space)


def anywhere(space: Space, seed: int) -> Iterator[Point]:
    """Yield points of a space at random, whatever the constraints say."""
    study = study_of(space, ("ap",), (), RandomSampler(seed))
    while True:
        yield _suggested(study.ask(), space)


def study_of(
    space: Space, objectives: Sequence[str], rows: Sequence[Row], sampler: BaseSampler | None = None
) -> optuna.Study:
    """Return trials as a study of Optuna's: for its figures, or for what its sampler draws next."""
    study = optuna.create_study(directions=[OBJECTIVES[name] for name in objectives], sampler=sampler)
    for row in rows:
        _tell(study, space, objectives, row)
    return study


class PointSearch(Searcher):
    """Gives Tune's trials their names and points. What the trials came to it reads from the sweep's events, so all that
    it has to remember is what it gave."""

    def __init__(self, points: Points, folder: Path) -> None:
        super().__init__(metric="ap", mode="max")
        self.points, self.folder = points, folder
        self.given: dict[str, Point] = {}
        self.events = Events(folder)

    def suggest(self, trial_id: str) -> Any:
        found = self.points.next(self.given, self.events.rows())
        if found is None:
            return Searcher.FINISHED
        name, point = found
        self.given[name] = point
        return {NAME: name, POINT: point}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_bytes(cloudpickle.dumps(self.given))

    def restore(self, checkpoint_path: str) -> None:
        self.given = cloudpickle.loads(Path(checkpoint_path).read_bytes())
        self.events = Events(self.folder)


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # groups: what conditions need
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _tell(study: optuna.Study, space: Space, objectives: Sequence[str], row: Row) -> None:
    """Add a trial to a study. One that was stopped early counts by the epoch that it came to."""
    params: dict[str, Any] = {}
    ranges: dict[str, BaseDistribution] = {}
    for domain in space.domains:
        if domain.path not in row[POINT]:
            continue
        value = row[POINT][domain.path]
        if domain.kind == "choice":
            if value not in domain.values:
                return
            value = domain.values.index(value)
        kind, described = _range(domain)
        ranges[domain.path] = _DISTRIBUTIONS[kind](**described)
        params[domain.path] = value
    scores = [row.get(name) for name in objectives]
    known: dict[str, Any] = {}
    if row["state"] not in ENDED:
        state = TrialState.RUNNING
    elif row["state"] not in SUCCEEDED or None in scores:
        state = TrialState.FAIL
    elif row["state"] == "stopped early" and len(scores) == 1:
        state, known = TrialState.PRUNED, {"intermediate_values": {row["epoch"]: scores[0]}}
    else:
        state, known = TrialState.COMPLETE, {"values": scores}
    with contextlib.suppress(ValueError):  # of an earlier sweep, and outside of this space
        study.add_trial(create_trial(state=state, params=params, distributions=ranges, **known))


def _suggested(trial: optuna.Trial, space: Space) -> Point:
    point: Point = {}
    for domain in space.domains:
        if domain.applies(point):
            kind, described = _range(domain)
            value = getattr(trial, f"suggest_{kind}")(domain.path, **described)
            point[domain.path] = domain.values[value] if domain.kind == "choice" else value
    return point


def _range(domain: Domain) -> tuple[str, dict[str, Any]]:
    """Return how Optuna names and describes a domain; choices are told by their numbers, because they may be groups."""
    if domain.kind == "choice":
        return "categorical", {"choices": tuple(range(len(domain.values)))}
    listed = domain.listed()
    if listed is None:
        low, high = domain.values
        return "float", {"low": low, "high": high, "log": domain.kind == "loguniform"}
    kind = "int" if domain.kind.endswith("randint") else "float"
    return kind, {"low": listed[0], "high": listed[-1], "step": listed[1] - listed[0] if len(listed) > 1 else 1}


_DISTRIBUTIONS = {"categorical": CategoricalDistribution, "float": FloatDistribution, "int": IntDistribution}
