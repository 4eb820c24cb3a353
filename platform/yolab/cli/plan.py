"""yolab plan: what a sweep or a table would take."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolab.cli.output import JsonOption, console, print_json, print_table

if TYPE_CHECKING:
    from yolab.experiment import Experiment
    from yolab.preflight import Capacity, CheckedExperiment


def plan(
    what: Annotated[str, typer.Argument(help="The experiment file of a sweep, or a table: table1 … table8.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.path=value, as often as wanted.")] = None,
    space: Annotated[Path | None, typer.Option(help="Of a sweep: its space; default: as yolab sweep.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Of a sweep: points to try.")] = 16,
    scheduler: Annotated[str, typer.Option(help="Of a sweep: asha, hyperband, median, pbt or none.")] = "asha",
    grace: Annotated[int, typer.Option(min=1, help="Of a sweep: epochs before a trial may be stopped.")] = 5,
    reduction: Annotated[int, typer.Option(min=2, help="Of a sweep: one of so many goes on.")] = 3,
    budget: Annotated[str, typer.Option(help="Of a table: smoke, short or full.")] = "smoke",
    seeds: Annotated[int, typer.Option(min=1, help="Of a table: runs of each row.")] = 1,
    data: Annotated[Path | None, typer.Option(help="Of a table: a data set; default: the budget's.")] = None,
    tables: Annotated[Path, typer.Option(help="The folder of tables and budgets.")] = Path("pipelines/tables"),
    price: Annotated[float | None, typer.Option(min=0, help="Of one GPU, or core, for an hour.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Say what a sweep or a table would take, from a few real steps of its cheapest, middle and dearest model on the
    cluster. Other trials count by their GFLOPs; what the network between several workers costs is not in it.

    Example: yolab plan table6 --budget short --seeds 3 --price 2.5
    """
    from yolab.cluster.connect import connected
    from yolab.cluster.cost_estimate import plan as measured

    if Path(what).suffix == ".yaml":
        experiments, checked, room, share = _of_sweep(
            Path(what), overrides or [], space, trials, scheduler, grace, reduction
        )
    else:
        experiments, checked, room, share = _of_table(what, overrides or [], budget, seeds, data, tables)
    with connected(), console.status("Taking some steps …"):
        found = measured(experiments, share, checked, room)
    cost = None if price is None else found.cost(price)
    if as_json:
        print_json(asdict(found) | {"cost": cost})
        return
    steps = ", ".join(f"{seconds:.3g} s at {gflops:.3g} GFLOPs" for gflops, seconds in found.step_seconds.items())
    rows = [
        ["trials", f"{found.trials}, {found.at_once} at once"],
        ["epochs", f"about {found.epochs:.0f}"],
        ["hours", f"about {found.hours:.2f}"],
        [f"{found.device} hours", f"about {found.device_hours:.2f}"],
        ["memory a worker", f"{found.memory_bytes / 2**30:.2f} GiB"],
        ["a step", steps],
        *([["cost", f"about {cost:.2f}"]] if cost is not None else []),
    ]
    print_table(what, ["", ""], rows)


def _of_sweep(
    path: Path, overrides: list[str], file: Path | None, trials: int, scheduler: str, grace: int, reduction: int
) -> tuple["list[Experiment]", "CheckedExperiment", "Capacity", float]:
    from yolab.cli.sweep import DEFAULT_SPACE
    from yolab.cli.train import cleared_experiment
    from yolab.cluster.connect import capacity
    from yolab.cluster.cost_estimate import share_of_epochs
    from yolab.errors import UsageError
    from yolab.experiment import load
    from yolab.search import schedulers, search_space
    from yolab.search.searchers import Sampled

    if scheduler not in schedulers.SCHEDULERS:
        raise UsageError(f"--scheduler can't be {scheduler}: it is one of {', '.join(schedulers.SCHEDULERS)}.")
    room = capacity()
    checked = cleared_experiment(load(path, overrides), room)
    base = checked.experiment
    space = search_space.read(file or DEFAULT_SPACE, base)
    points = Sampled(space, base, checked.names, "random", ("ap",), trials)
    given: dict[str, Any] = {}
    while found := points.next(given, {}):
        given[found[0]] = found[1]
    if not given:
        raise UsageError("No point of the space can be tried: `yolab sweep` says why.")
    share = share_of_epochs(scheduler, base.recipe.epochs, grace, reduction)
    return [search_space.at(base, point) for point in given.values()], checked, room, share


def _of_table(
    name: str, overrides: list[str], budget: str, seeds: int, data: Path | None, folder: Path
) -> tuple["list[Experiment]", "CheckedExperiment", "Capacity", float]:
    from yolab.cli.ablate import experiments_of
    from yolab.cli.train import cleared_experiment
    from yolab.cluster.connect import capacity
    from yolab.search.ablation_table import read, read_budget

    asked = read(name, folder)
    experiments = list(experiments_of(asked, read_budget(budget, folder), overrides, data, [], seeds).values())
    room = capacity()
    checked = cleared_experiment(experiments[0], room)
    return experiments, replace(checked, experiment=experiments[0]), room, 1.0
