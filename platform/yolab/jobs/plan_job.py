"""What a sweep or a table would take, before it starts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolab.cluster.capacity import capacity
from yolab.cluster.connect import connected
from yolab.cluster.cost_estimate import CostEstimate, estimate
from yolab.errors import UsageError
from yolab.experiment import Experiment, Overrides, shipped
from yolab.experiment.shipped import Kind
from yolab.jobs.ablate_job import experiments_of
from yolab.jobs.checking import check, experiment_from
from yolab.jobs.result import Result
from yolab.jobs.sweep_job import DEFAULT_SPACE, DEFAULT_TRIALS
from yolab.jobs.watcher import SILENT, Watcher
from yolab.preflight import CheckedExperiment
from yolab.search import schedulers, search_space
from yolab.search.ablation_table import read, read_budget
from yolab.search.searchers import SampledSearcher


@dataclass(frozen=True)
class PlanResult(Result):
    """What it would take, and what that costs at a price for an hour of one device, if one was said."""

    estimate: CostEstimate
    cost: float | None

    def document(self) -> Any:
        return asdict(self.estimate) | {"cost": self.cost}

    def cells(self) -> list[list[str]]:
        """Return lines for people: what, and how much."""
        found = self.estimate
        steps = ", ".join(f"{seconds:.3g} s at {gflops:.3g} GFLOPs" for gflops, seconds in found.step_seconds.items())
        return [
            ["trials", f"{found.trials}, {found.at_once} at once"],
            ["epochs", f"about {found.epochs:.0f}"],
            ["hours", f"about {found.hours:.2f}"],
            [f"{found.device} hours", f"about {found.device_hours:.2f}"],
            ["memory a worker", f"{found.memory_bytes / 2**30:.2f} GiB"],
            ["a step", steps],
            *([["cost", f"about {self.cost:.2f}"]] if self.cost is not None else []),
        ]


def plan(
    what: str,
    overrides: Overrides = (),
    *,
    space: str | Path | None = None,
    trials: int | None = None,
    scheduler: str | None = None,
    grace: int | None = None,
    reduction: int | None = None,
    budget: str | None = None,
    seeds: int | None = None,
    data: str | Path | None = None,
    tables: Path | None = None,
    price: float | None = None,
    watcher: Watcher = SILENT,
) -> PlanResult:
    """Return what a sweep of an experiment (a file, or its name), or a table (its name), would take, from a few real
    steps of its cheapest, middle and dearest model on the cluster.

    Other trials count by their GFLOPs; what the network between several workers costs is not in it. `space` to
    `reduction` are a sweep's, `budget` to `tables` a table's: one of the other kind raises UsageError, as all does that
    can't be meant.
    """
    of_sweep = {"space": space, "trials": trials, "scheduler": scheduler, "grace": grace, "reduction": reduction}
    of_table = {"budget": budget, "seeds": seeds, "data": data, "tables": tables}
    if Path(what).suffix == ".yaml" or shipped.shipped_name(Kind.EXPERIMENT, what):
        _refuse(of_table, f"{what}, a sweep's experiment")
        found = _of_sweep(what, overrides, space or DEFAULT_SPACE, trials or DEFAULT_TRIALS, scheduler or "asha",
                          {"grace": grace, "reduction": reduction}, watcher)  # fmt: skip
    else:
        _refuse(of_sweep, f"{what}, a table")
        found = _of_table(what, overrides, budget or "smoke", seeds or 1, data, tables, watcher)
    experiments, checked, share = found
    room, compute = capacity(), checked.experiment.compute
    if not room.at_once(compute):
        watcher.note(
            f"{compute.workers.min} workers with {compute.cpus_per_worker} CPUs and {compute.gpus_per_worker} GPUs "
            f"each are more than {room.where} has ({room}): the steps are timed on what there is, and the hours are "
            "those of one run at a time."
        )
    with connected():
        watcher.progress("Taking some steps")
        result = estimate(experiments, share, checked, room)
    return PlanResult(result, None if price is None else result.cost(price))


def _refuse(options: Mapping[str, object], what: str) -> None:
    for option, value in options.items():
        if value is not None:
            raise UsageError(f"--{option} does nothing for {what}: leave it out.")


_Found = tuple[list[Experiment], CheckedExperiment, float]


def _of_sweep(
    experiment: str,
    overrides: Overrides,
    space: str | Path,
    trials: int,
    scheduler: str,
    given: Mapping[str, int | None],
    watcher: Watcher,
) -> _Found:
    """Return the experiments of a sweep's trials, and the share of their epochs that they get."""
    described = experiment_from(experiment, overrides)
    row = schedulers.find(scheduler)
    settings = schedulers.settings_for(scheduler, described.recipe, None, given)
    checked = check(described, watcher)
    base = checked.experiment
    parsed = search_space.read(Path(space), base)
    searcher = SampledSearcher(parsed, base, checked.names, None, ("ap",), trials)
    points: dict[str, Any] = {}
    while found := searcher.suggest(points, {}):
        points[found[0]] = found[1]
    if not points:
        raise UsageError("No point of the space can be tried: `yolab sweep` says why.")
    return [search_space.at(base, point) for point in points.values()], checked, row.share(settings)


def _of_table(
    name: str,
    overrides: Overrides,
    budget: str,
    seeds: int,
    data: str | Path | None,
    tables: Path | None,
    watcher: Watcher,
) -> _Found:
    """Return the experiments of a table's rows."""
    limits = read_budget(budget, tables)
    experiments = list(experiments_of(read(name, tables), limits, overrides, data, (), seeds).values())
    return experiments, check(experiments[0], watcher), 1.0
