"""yolab sweep …: searches over an experiment."""

from difflib import get_close_matches
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from yolab.cli.output import (
    AsJson,
    ExperimentFile,
    OnEnd,
    Overrides,
    Restartable,
    StorageOption,
    print_table,
    say,
    show,
    terminal,
)
from yolab.jobs import sweep_job, sweeps_job
from yolab.jobs.on_end import told_at_end

_ALIKE = 0.8  # from here on a word is a mistyped command, and no experiment


class _RunUnlessNamed(TyperGroup):
    """`yolab sweep EXPERIMENT …` is short for `yolab sweep run EXPERIMENT …`."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        if arguments and arguments[0] not in (*self.commands, "--help"):
            for meant in get_close_matches(arguments[0], self.commands, n=1, cutoff=_ALIKE):
                context.fail(f"There is no command {arguments[0]}. Did you mean {meant}?")
            arguments = ["run", *arguments]
        return super().parse_args(context, arguments)


app = typer.Typer(
    help="Search over an experiment: trials in parallel, the bad ones stopped early, all of them in MLflow.",
    no_args_is_help=True,
    cls=_RunUnlessNamed,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The sweep.")]
NewName = Annotated[str | None, typer.Option(help="Default: the experiment's name.")]
Searcher = Annotated[str | None, typer.Option(help="random (default), grid, or tpe, which learns from other trials.")]
Scheduler = Annotated[str | None, typer.Option(help="asha (default), hyperband, median, pbt or none.")]
Objectives = Annotated[
    list[str] | None,
    typer.Option("--objective", help="ap, ap50, ap_small, params, gflops, latency_ms; several give a front."),
]
Trials = Annotated[int | None, typer.Option(min=1, help="Points to try; default: 16, or all of a grid.")]
Grace = Annotated[int | None, typer.Option(min=1, help="Epochs that every trial gets before it may be stopped (5).")]
Reduction = Annotated[int | None, typer.Option(min=2, help="asha and hyperband let one of so many go on (3).")]
Retries = Annotated[int | None, typer.Option(min=0, help="How often a trial that fails goes on from where it was (1).")]
MaxHours = Annotated[float | None, typer.Option(min=0, help="Stop after so many hours.")]
MaxTrials = Annotated[int | None, typer.Option(min=1, help="Stop when so many trials have ended.")]
MaxCost = Annotated[float | None, typer.Option(min=0, help="Stop when so much is spent, at --price.")]
Price = Annotated[float | None, typer.Option(min=0, help="Of one GPU, or core, for an hour.")]
MaxConcurrent = Annotated[int | None, typer.Option(min=1, help="Trials at the same time; default: all that fit.")]


@app.command()
def run(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    space: Annotated[
        str | None, typer.Option(help="Paths and what may stand there, a file or a name; default: compound_scaling.")
    ] = None,
    name: NewName = None,
    searcher: Searcher = None,
    scheduler: Scheduler = None,
    objectives: Objectives = None,
    trials: Trials = None,
    grace: Grace = None,
    reduction: Reduction = None,
    retries: Retries = None,
    max_hours: MaxHours = None,
    max_trials: MaxTrials = None,
    max_cost: MaxCost = None,
    price: Price = None,
    max_concurrent: MaxConcurrent = None,
    restartable: Restartable = False,
    on_end: OnEnd = None,
    warm_start: Annotated[str | None, typer.Option(help="Let tpe learn from the trials of this sweep.")] = None,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Search a space around an experiment.

    Example: yolab sweep run bccd --space compound_scaling --name bccd-scaling
    """
    with terminal() as watcher, told_at_end(on_end, "sweep", watcher) as ended:
        done = ended(sweep_job.sweep(
            experiment, space, overrides=overrides or [], name=name, trials=trials, searcher=searcher,
            scheduler=scheduler, objectives=objectives, grace=grace, reduction=reduction, retries=retries,
            warm_start=warm_start, budget=sweep_job.Budget(max_hours, max_trials, max_cost, price, max_concurrent),
            restartable=restartable, storage=storage, watcher=watcher,
        ))  # fmt: skip
    show(done, as_json, lambda: _print_trials(done))


@app.command()
def fork(
    source: Annotated[str, typer.Argument(metavar="NAME", help="The sweep whose experiment it is, and whose trials.")],
    space: Annotated[str, typer.Option(help="What to search now.")],
    name: Annotated[str | None, typer.Option(help="Default: NAME-fork.")] = None,
    searcher: Searcher = None,
    scheduler: Scheduler = None,
    objectives: Objectives = None,
    trials: Trials = None,
    grace: Grace = None,
    reduction: Reduction = None,
    retries: Retries = None,
    max_hours: MaxHours = None,
    max_trials: MaxTrials = None,
    max_cost: MaxCost = None,
    price: Price = None,
    max_concurrent: MaxConcurrent = None,
    restartable: Restartable = False,
    on_end: OnEnd = None,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Search another space around the experiment of a sweep, knowing its trials.

    What is left out is as it was there.

    Example: yolab sweep fork bccd-scaling --space recipe --searcher tpe
    """
    with terminal() as watcher, told_at_end(on_end, "sweep", watcher) as ended:
        done = ended(sweep_job.fork(
            source, space, name=name, trials=trials, searcher=searcher, scheduler=scheduler,
            objectives=objectives, grace=grace, reduction=reduction, retries=retries,
            budget=sweep_job.Budget(max_hours, max_trials, max_cost, price, max_concurrent), restartable=restartable,
            storage=storage, watcher=watcher,
        ))  # fmt: skip
    show(done, as_json, lambda: _print_trials(done))


@app.command()
def resume(
    name: Name,
    more_trials: Annotated[int | None, typer.Option(min=1, help="So many more than it was asked for.")] = None,
    max_hours: MaxHours = None,
    max_trials: MaxTrials = None,
    max_cost: MaxCost = None,
    price: Price = None,
    max_concurrent: MaxConcurrent = None,
    on_end: OnEnd = None,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a sweep: ended trials are not run again, others go on from where they were.

    Example: yolab sweep resume bccd-scaling --more-trials 20
    """
    budget = sweep_job.Budget(max_hours, max_trials, max_cost, price, max_concurrent)
    with terminal() as watcher, told_at_end(on_end, "sweep", watcher) as ended:
        done = ended(sweep_job.resume(name, more_trials=more_trials, budget=budget, storage=storage, watcher=watcher))
    show(done, as_json, lambda: _print_trials(done))


@app.command("list")
def list_(storage: StorageOption = None, as_json: AsJson = False) -> None:
    """List the sweeps of a storage, the newest first.

    Example: yolab sweep list
    """
    found = sweeps_job.list_sweeps(storage)
    columns = ["name", "state", "ended", "trials", "AP", "searcher", "scheduler", "digest"]
    rows = [list(vars(line).values()) for line in found.sweeps]
    show(found, as_json, lambda: print_table(found.storage, columns, rows))
    if not found.sweeps:
        say(f"No sweeps in {found.storage} yet: `yolab sweep run EXPERIMENT` makes one.")


@app.command()
def status(name: Name, storage: StorageOption = None, as_json: AsJson = False) -> None:
    """Show the trials of a sweep.

    Example: yolab sweep status bccd-scaling
    """
    found = sweeps_job.sweep_status(name, storage)
    show(found, as_json, lambda: _print_trials(found))


@app.command()
def stop(name: Name, storage: StorageOption = None) -> None:
    """Stop a sweep, wherever it runs, with its state saved.

    Example: yolab sweep stop bccd-scaling
    """
    sweeps_job.stop_sweep(name, storage)
    say(f"{name} stops within seconds; go on with `yolab sweep resume {name}`.")


def _print_trials(found: Any) -> None:
    print_table(found.name, *found.table())
    for line in found.failures():
        say(line)
