"""Which point a sweep tries next: one of a list, one at random, or where Optuna expects most, after the others.

A row of `SEARCHERS` is all that yolab knows of one.
"""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from yolab.errors import UsageError
from yolab.experiment import Experiment
from yolab.search.request import SweepRequest
from yolab.search.search_space import Domain, Point, Space, why_not
from yolab.search.trial import OBJECTIVES, POINT, Row, TrialState, is_scored, state_of

_LEARNED_DRAWS = 20  # for each point; then at random, in case Optuna insists on what was tried or is forbidden
_RANDOM_DRAWS = 100  # before a space counts as exhausted

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Searcher(Protocol):
    """Where the points of a sweep come from."""

    def suggest(self, given: Mapping[str, Point], rows: Mapping[str, Row]) -> tuple[str, Point] | None:
        """Return the name and the point of the next trial, None if there is none: `given` are those that Tune has,
        `rows` those that anything is recorded of."""

    def is_left(self, rows: Mapping[str, Row]) -> bool:
        """Return whether anything is left to do."""


@dataclass(frozen=True)
class ListSearcher:
    """Points that are known beforehand, by the names of their trials. Those that failed are tried again."""

    points: Mapping[str, Point]

    def suggest(self, given: Mapping[str, Point], rows: Mapping[str, Row]) -> tuple[str, Point] | None:
        for name, point in self.points.items():
            if name not in given and not (name in rows and state_of(rows[name]).has_succeeded):
                return name, point
        return None

    def is_left(self, rows: Mapping[str, Row]) -> bool:
        return any(name not in rows or not state_of(rows[name]).has_ended for name in self.points)


@dataclass(frozen=True)
class SampledSearcher:
    """So many different points of a space, around `base`; `names` are the classes. `sampler` makes, of a seed, what of
    Optuna's learns from the trials so far and from `known`, those of earlier sweeps; None: nothing does."""

    space: Space
    base: Experiment
    names: tuple[str, ...]
    sampler: Callable[[int], BaseSampler] | None
    objectives: tuple[str, ...]
    trials: int
    known: tuple[Row, ...] = ()

    def suggest(self, given: Mapping[str, Point], rows: Mapping[str, Row]) -> tuple[str, Point] | None:
        for name, row in rows.items():  # begun, but Tune was killed before it had noted so
            if name not in given and not state_of(row).has_ended:
                return name, row[POINT]
        running = {name: {"state": TrialState.RUNNING, POINT: point} for name, point in given.items()}
        so_far = running | dict(rows)
        if len(so_far) >= self.trials:
            return None
        # one before others may be missing: Tune was killed, or its node lost, before it had begun
        number = next(number for number in itertools.count() if _trial_name(number) not in so_far)
        point = self._propose(number, so_far)
        return None if point is None else (_trial_name(number), point)

    def is_left(self, rows: Mapping[str, Row]) -> bool:
        return any(not state_of(row).has_ended for row in rows.values()) or self.suggest({}, rows) is not None

    def _propose(self, number: int, so_far: Mapping[str, Row]) -> Point | None:
        """Return a new point that nothing forbids. At random it is the same for a number, whatever trials there are
        after it, because those have avoided it."""
        seen = [row[POINT] for row in so_far.values()]
        seed = int(np.random.default_rng([self.base.seed, number]).integers(2**31))
        learned = itertools.islice(self._learned(list(so_far.values()), seed), _LEARNED_DRAWS if self.sampler else 0)
        for point in itertools.chain(learned, itertools.islice(anywhere(self.space, seed), _RANDOM_DRAWS)):
            if point not in seen:
                if why_not(self.space, self.base, self.names, point) is None:
                    return point
                seen.append(point)
        return None

    def _learned(self, so_far: Sequence[Row], seed: int) -> Iterator[Point]:
        assert self.sampler is not None
        study = study_of(self.space, self.objectives, (*self.known, *so_far), self.sampler(seed))
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


Build = Callable[[SweepRequest, Space, Experiment, tuple[str, ...]], Searcher]


@dataclass(frozen=True)
class SearcherKind:
    """`build` makes it of a request, its space, the experiment around which it searches, and the names of the classes;
    `check` says why it can't search a space, None if it can. `learns`: from the trials of earlier sweeps, too. `ends`:
    by itself, when all points have been tried, if no number of trials is said."""

    help: str
    build: Build
    check: Callable[[Space], str | None] = lambda space: None
    learns: bool = False
    ends: bool = False


def sampled(help: str, sampler: Callable[[int], BaseSampler] | None) -> SearcherKind:
    """Return the row of a searcher that draws points, by one of Optuna's samplers if it learns."""

    def build(request: SweepRequest, space: Space, base: Experiment, names: tuple[str, ...]) -> Searcher:
        trials = request.trials or 0
        return SampledSearcher(space, base, names, sampler, request.objectives, trials, request.known)

    return SearcherKind(help, build, learns=sampler is not None)


def _grid(request: SweepRequest, space: Space, base: Experiment, names: tuple[str, ...]) -> Searcher:
    possible = (point for point in space.points() or () if not why_not(space, base, names, point))
    chosen = possible if request.trials is None else itertools.islice(possible, request.trials)
    return ListSearcher({_trial_name(number): point for number, point in enumerate(chosen)})


def _trial_name(number: int) -> str:
    return f"trial-{number:03d}"


def _not_endless(space: Space) -> str | None:
    return None if space.points() else "needs a space that ends: take quniform for uniform, choice for loguniform."


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # groups: what conditions need
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


SEARCHERS = {
    "random": sampled("draws points at random", None),
    "grid": SearcherKind("goes through all points of a space that ends", _grid, _not_endless, ends=True),
    "tpe": sampled("learns from the trials so far where to look (Optuna)", _tpe),
}


def find(name: str) -> SearcherKind:
    """Return the searcher of that name. Raises UsageError."""
    if name not in SEARCHERS:
        raise UsageError(f"--searcher can't be {name}: it is one of {', '.join(SEARCHERS)}.")
    return SEARCHERS[name]


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
    scores, state = [row.get(name) for name in objectives], state_of(row)
    known: dict[str, Any] = {}
    if not state.has_ended:
        told = OptunaState.RUNNING
    elif not is_scored(row, objectives):
        told = OptunaState.FAIL
    elif state is TrialState.STOPPED_EARLY and len(scores) == 1:
        told, known = OptunaState.PRUNED, {"intermediate_values": {row["epoch"]: scores[0]}}
    else:
        told, known = OptunaState.COMPLETE, {"values": scores}
    with contextlib.suppress(ValueError):  # of an earlier sweep, and outside of this space
        study.add_trial(create_trial(state=told, params=params, distributions=ranges, **known))


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
