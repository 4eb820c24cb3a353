"""yolab plan: what a sweep or a table would take."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import AsJson, Overrides, print_table, show, terminal
from yolab.jobs import plan_job


def plan(
    what: Annotated[str, typer.Argument(help="The experiment file of a sweep, or a table: table1 … table8.")],
    overrides: Overrides = None,
    space: Annotated[str | None, typer.Option(help="Of a sweep: its space; default: as yolab sweep.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Of a sweep: points to try (16).")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Of a sweep: asha, hyperband, median, pbt or none.")] = None,
    grace: Annotated[int | None, typer.Option(min=1, help="Of a sweep: epochs before a trial may be stopped.")] = None,
    reduction: Annotated[int | None, typer.Option(min=2, help="Of a sweep: one of so many goes on.")] = None,
    budget: Annotated[str | None, typer.Option(help="Of a table: smoke (default), short or full.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Of a table: runs of each row.")] = None,
    data: Annotated[Path | None, typer.Option(help="Of a table: a data set; default: the budget's.")] = None,
    tables: Annotated[Path | None, typer.Option(help="A folder of tables and budgets; default: yolab's own.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Of one GPU, or core, for an hour.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a sweep or a table would take, before it starts.

    A few real steps of its cheapest, middle and dearest model are timed on the cluster. Other trials count by their
    GFLOPs; what the network between several workers costs is not in it.

    Example: yolab plan table6 --budget short --seeds 3 --price 2.5
    """
    with terminal() as watcher:
        found = plan_job.plan(
            what, overrides or [], space=space, trials=trials, scheduler=scheduler, grace=grace, reduction=reduction,
            budget=budget, seeds=seeds, data=data, tables=tables, price=price, watcher=watcher,
        )  # fmt: skip
    show(found, as_json, lambda: print_table(what, ["", ""], found.cells()))
