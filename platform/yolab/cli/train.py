"""yolab train: one run, from an experiment file."""

from typing import Annotated

import typer

from yolab.cli.output import (
    AsJson,
    DeviceOption,
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
from yolab.jobs import train_job
from yolab.jobs.on_end import told_at_end


def train(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run of this name.")] = False,
    restartable: Restartable = False,
    device: DeviceOption = None,
    profile: Annotated[
        int, typer.Option(min=0, help="Trace so many steps with torch's profiler, as trace.json in the run.")
    ] = 0,
    on_end: OnEnd = None,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Train one detector.

    Example: yolab train bccd data.path=data/bccd recipe.epochs=30
    """
    with terminal() as watcher, told_at_end(on_end, "train", watcher) as ended:
        done = ended(
            train_job.train(
                experiment,
                overrides or [],
                resume=resume,
                restartable=restartable,
                device=device,
                profile_steps=profile,
                storage=storage,
                watcher=watcher,
            )
        )
    show(done, as_json, lambda: print_table(done.name, list(done.scores), [list(done.scores.values())]))
    if not as_json:
        say(f"Weights: {done.weights}")
