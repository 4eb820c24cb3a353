"""What a sweep was asked for, as it stands in its folder, so that it can go on by its name alone.

Ray and Optuna take seconds to import: only what is about to search does so.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolab.errors import UsageError
from yolab.experiment import Experiment, build
from yolab.experiment.yaml_file import value as yaml_value
from yolab.search.sweep_folder import NAME, OBJECTIVES, POINT, Row
from yolab.storage import claim

if TYPE_CHECKING:
    from yolab.preflight import CheckedExperiment
    from yolab.search.search_space import Point, Space
    from yolab.search.searchers import Points


@dataclass(frozen=True)
class Request:
    """`experiment` and `space` as their files say it; `digest` of the experiment with its data; `known` are trials of
    earlier sweeps to learn from. `trials` None: all points of a grid."""

    experiment: dict[str, Any]
    digest: str
    space: dict[str, Any]
    searcher: str
    scheduler: str
    objectives: tuple[str, ...]
    trials: int | None
    grace: int
    reduction: int
    retries: int
    known: tuple[Row, ...] = ()

    def described(self) -> Experiment:
        return build(self.experiment, {}, "the sweep's folder")

    def checked(self, source: str) -> "Space":
        """Return the space, from `source`, if all of the request can be done. Raises UsageError."""
        from yolab.search import schedulers, search_space, searchers

        for option, value, allowed in (
            ("--searcher", self.searcher, searchers.SEARCHERS),
            ("--scheduler", self.scheduler, schedulers.SCHEDULERS),
            *(("--objective", objective, tuple(OBJECTIVES)) for objective in self.objectives),
        ):
            if value not in allowed:
                raise UsageError(f"{option} can't be {value}: it is one of {', '.join(allowed)}.")
        if len(set(self.objectives)) < len(self.objectives):
            raise UsageError("--objective names the same twice: say each once.")
        experiment = self.described()
        if "latency_ms" in self.objectives and experiment.compute.workers > 1:
            raise UsageError("--objective latency_ms is measured in trials of one worker: set compute.workers=1.")
        space = search_space.parse(self.space, experiment, source)
        schedulers.check(self.scheduler, experiment, space, self.objectives)
        listed = space.points()
        if self.searcher == "grid" and listed is None:
            raise UsageError(
                "--searcher grid needs a space that ends: take quniform for uniform, choice for loguniform."
            )
        if self.trials is not None and listed is not None:
            different = sum(1 for _, _ in zip(listed, range(self.trials)))
            if different < self.trials:
                raise UsageError(
                    f"The search space has only {different} different points: lower --trials, or widen the space."
                )
        return space

    def points(self, space: "Space", checked: "CheckedExperiment") -> "Points":
        """Return the trials' points. Raises UsageError if nothing in the space can be tried."""
        from yolab.search import search_space, searchers

        base, names = checked.experiment, checked.names
        if self.searcher != "grid":
            points: Points = searchers.Sampled(
                space, base, names, self.searcher, self.objectives, self.trials or 0, tuple(self.known)
            )
        else:
            possible = (point for point in space.points() or () if not search_space.why_not(space, base, names, point))
            chosen = possible if self.trials is None else (point for point, _ in zip(possible, range(self.trials)))
            points = searchers.Listed({f"trial-{number:03d}": point for number, point in enumerate(chosen)})
        if not points.left({}):
            point = next(searchers.anywhere(space, base.seed))
            raise UsageError(
                f"No point of the space can be tried, such as {point}: "
                f"{search_space.why_not(space, base, names, point)}."
            )
        return points

    def with_more(self, trials: int) -> "Request":
        """Return the request for so many trials more."""
        if self.trials is None:
            raise UsageError("All points of the grid are asked for already: fork the sweep with a wider space.")
        return replace(self, trials=self.trials + trials)

    def work(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return asdict(self)


def of_folder(folder: Path) -> Request:
    """Return the request that a sweep's folder holds. Raises UsageError if it is none of a sweep."""
    _, work = claim.claimed(folder)
    if "searcher" not in work:
        raise UsageError(f"{folder} is not the folder of a sweep, or of one that an earlier yolab made.")
    return Request(**work | {"objectives": tuple(work["objectives"]), "known": tuple(work["known"])})


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is that of a sweep."""
    try:
        of_folder(folder)
    except UsageError:
        return False
    return True


def known_from(trials: list[dict[str, Any]], space: "Space") -> tuple[Row, ...]:
    """Return the trials of an earlier sweep that ended well, as `runs.list_runs` describes them, as rows to learn from.
    Those that were stopped early count by the AP that they came to."""
    found = []
    for run in trials:
        known = {**run["metrics"], **_counts(run["params"])}
        if run["status"] == "FINISHED" and "ap" in known:
            scores = {name: known[name] for name in OBJECTIVES if name in known}
            found.append({NAME: run["name"], "state": "finished", POINT: _point_of(run["params"], space), **scores})
    return tuple(found)


def _point_of(params: dict[str, str], space: "Space") -> "Point":
    """Return the values that a run had at a space's paths, from its parameters, which are text."""
    point: dict[str, Any] = {}
    for domain in space.domains:
        if domain.path in params and domain.applies(point):
            point[domain.path] = yaml_value(params[domain.path], domain.path)
    return point


def _counts(params: dict[str, str]) -> dict[str, float]:
    return {name: float(params[name]) for name in ("params", "gflops") if name in params}
