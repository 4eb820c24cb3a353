"""From what was asked for to what can be run: everything about a search that can be refused is refused here."""

from collections.abc import Iterable
from typing import Any

from yolab.errors import UsageError
from yolab.evaluation.score_names import LATENCY
from yolab.experiment import Experiment, build
from yolab.search import schedulers, searchers
from yolab.search.request import SweepRequest
from yolab.search.search_space import Space, parse, why_not
from yolab.search.searchers import Searcher
from yolab.search.trial import OBJECTIVES, POINT, Row


def experiment_of(request: SweepRequest) -> Experiment:
    """Return the experiment around which a request searches."""
    return build(request.experiment, {}, "the sweep's folder")


def checked_space(request: SweepRequest, source: str) -> Space:
    """Return a request's space, from `source`, if all of the request can be done. Raises UsageError."""
    searcher = searchers.find(request.searcher)
    schedulers.find(request.scheduler)
    for objective in request.objectives:
        if objective not in OBJECTIVES:
            raise UsageError(f"--objective can't be {objective}: it is one of {', '.join(OBJECTIVES)}.")
    if len(set(request.objectives)) < len(request.objectives):
        raise UsageError("--objective names the same twice: say each once.")
    experiment = experiment_of(request)
    if LATENCY in request.objectives and experiment.compute.workers.max > 1:
        raise UsageError("--objective latency_ms is measured in trials of one worker: set compute.workers=1.")
    space = parse(request.space, experiment, source)
    schedulers.check(request.scheduler, experiment, space, request.objectives)
    why = searcher.check(space)
    if why:
        raise UsageError(f"--searcher {request.searcher} {why}")
    listed = space.points()
    if request.trials is not None and listed is not None:
        different = sum(1 for _, _ in zip(listed, range(request.trials)))
        if different < request.trials:
            raise UsageError(
                f"The search space has only {different} different points: lower --trials, or widen the space."
            )
    return space


def searcher_of(request: SweepRequest, space: Space, base: Experiment, names: tuple[str, ...]) -> Searcher:
    """Return what gives the trials' points. Raises UsageError if nothing in the space can be tried."""
    found = searchers.find(request.searcher).build(request, space, base, names)
    if not found.is_left({}):
        point = next(searchers.anywhere(space, base.seed))
        raise UsageError(f"No point of the space can be tried, such as {point}: {why_not(space, base, names, point)}.")
    return found


def within(space: Space, rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return trials of an earlier sweep with their points cut to a space's paths, to learn from."""
    found = []
    for row in rows:
        point: dict[str, Any] = {}
        for domain in space.domains:
            if domain.path in row[POINT] and domain.applies(point):
                point[domain.path] = row[POINT][domain.path]
        found.append({**row, POINT: point})
    return tuple(found)
