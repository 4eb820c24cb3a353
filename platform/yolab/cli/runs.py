"""yolab runs: what MLflow knows of runs and trials."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolab.cli.output import AsJson, StorageOption, UriOption, print_table, say, show
from yolab.errors import UsageError
from yolab.jobs import remove_job, runs_job

if TYPE_CHECKING:
    from yolab.jobs.runs_job import Runs

app = typer.Typer(invoke_without_command=True)

COLUMNS = ("name", "state", "AP", "AP50", "started", "seconds", "model", "digest")
_DIGITS = 12  # of a digest that are shown


@app.callback()
def runs(
    context: typer.Context,
    experiment: Annotated[str | None, typer.Option(help="Only this MLflow experiment.")] = None,
    sweep: Annotated[str | None, typer.Option(help="Only the trials of this sweep.")] = None,
    where: Annotated[
        str | None, typer.Option(help="MLflow's filter, such as \"metrics.ap > 0.3 and tags.`yolab.kind` = 'trial'\".")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="A metric or parameter, the largest first; default: the newest first."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write them to this .parquet or .csv file.")] = None,
    storage: StorageOption = None,
    uri: UriOption = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first; or export them with all parameters, metrics and tags.

    Example: yolab runs --sweep bccd-scaling --where "metrics.ap > 0.3" --sort ap --limit 10
    """
    if context.invoked_subcommand:
        for name in context.params:
            source = context.get_parameter_source(name)
            if source and source.name == "COMMANDLINE":
                raise UsageError(f"An option before {context.invoked_subcommand} does nothing ({name}): put it behind.")
        return
    result = runs_job.runs(
        experiment=experiment, sweep=sweep, where=where, sort=sort, limit=limit, export=export, storage=storage, uri=uri
    )  # fmt: skip
    if result.exported:
        say(f"{len(result.found)} runs: {result.exported}")
    show(result, as_json, lambda: _print(result, narrowed=any((experiment, sweep, where))))


@app.command("rm")
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Runs, sweeps or tables; or MLflow's ids.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    storage: StorageOption = None,
    uri: UriOption = None,
    as_json: AsJson = False,
) -> None:
    """Remove runs, sweeps and tables: from MLflow's lists, and their folders.

    Example: yolab runs rm bccd bccd-scaling
    """
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("Nobody can be asked here whether to remove them: say --yes.")
        going = remove_job.remove(names, storage=storage, uri=uri)
        say("\n".join([*(f"the run {run}" for run in going.runs), *going.folders, f"{going.bytes / 2**20:.1f} MiB"]))
        typer.confirm("Remove them?", abort=True, err=True)
    gone = remove_job.remove(names, really=True, storage=storage, uri=uri)
    told = f"Removed. MLflow keeps its own copies until `mlflow gc --backend-store-uri {gone.uri}`."
    show(gone, as_json, lambda: say(told))


def _print(result: "Runs", narrowed: bool) -> None:
    if result.exported:
        return
    rows = [
        [
            *(line.name, line.state, line.ap, line.ap50, line.started.strftime("%Y-%m-%d %H:%M:%S")),
            None if line.seconds is None else f"{line.seconds:.1f}",
            *(line.model, line.digest and line.digest[:_DIGITS]),
        ]
        for line in result.lines()
    ]
    print_table(result.uri, COLUMNS, rows)
    if not result.found and narrowed:
        say("No run is as asked for.")
    elif not result.found:
        say("No runs yet: `yolab train EXPERIMENT.yaml` makes one.")
