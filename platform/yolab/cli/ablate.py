"""yolab ablate: a table of the paper, run."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import AsJson, OnEnd, Overrides, StorageOption, print_table, say, show, terminal
from yolab.jobs import ablate_job
from yolab.jobs.on_end import told_at_end


def ablate(
    table: Annotated[str, typer.Argument(help="table1 … table8, or a file of one's own.")],
    overrides: Overrides = None,
    budget: Annotated[str, typer.Option(help="smoke, short or full, or a file of one's own.")] = "smoke",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, with the seeds 0, 1, …")] = 1,
    rows: Annotated[list[str] | None, typer.Option(help="Only this row; as often as wanted.")] = None,
    data: Annotated[str | None, typer.Option(help="A data set in COCO layout; default: the budget's.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run rows again that have been run.")] = False,
    retries: Annotated[int, typer.Option(min=0, help="How often a crashed run begins again where it was.")] = 1,
    max_hours: Annotated[float | None, typer.Option(min=0, help="Stop after so many hours.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Runs at the same time; default: all.")] = None,
    tables: Annotated[Path | None, typer.Option(help="A folder of tables and budgets; default: yolab's own.")] = None,
    on_end: OnEnd = None,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Run the rows of a table in parallel, and print it beside the published figures.

    Rows that have been run already, in whatever table, are taken from MLflow; the same command goes on with a table
    that was interrupted.

    Example: yolab ablate table3 --budget smoke
    """
    with terminal() as watcher, told_at_end(on_end, "ablate", watcher) as ended:
        done = ended(ablate_job.ablate(
            table, overrides or [], budget=budget, seeds=seeds, rows=rows or [], data=data, fresh=fresh,
            retries=retries, max_hours=max_hours, max_concurrent=max_concurrent, tables=tables, storage=storage,
            watcher=watcher,
        ))  # fmt: skip
    show(done, as_json, lambda: print_table(f"{done.title}\n{done.says}", *done.cells()))
    if not as_json:
        say(f"As CSV, Markdown and LaTeX: {done.folder}")
