"""The command `yolab`: one file a verb; here is what they share: the way out."""

import errno
import sys
from typing import Annotated

import typer
from rich.markup import escape

from yolab.cli import (
    ablate,
    bench,
    compare,
    cp,
    data,
    doctor,
    evaluate,
    export,
    gc,
    logs,
    ls,
    models,
    plan,
    predict,
    promote,
    runs,
    submit,
    sweep,
    train,
    ui,
    weights,
)
from yolab.cli.output import console
from yolab.errors import UsageError, YolabError, is_interruption
from yolab.jobs import stopping, version_job
from yolab.jobs.result import INTERRUPTED


def _say_version(wanted: bool) -> None:
    if wanted:
        print(version_job.version())
        raise typer.Exit


app = typer.Typer(
    help="A lab for YOLOv7-style detectors: sweep on Ray, compare in MLflow, promote the best, proven equal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _yolab(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say it.")] = False,
) -> None:
    pass


for verb in (
    doctor,
    ls,
    cp,
    models,
    train,
    evaluate,
    predict,
    export,
    plan,
    ablate,
    logs,
    compare,
    promote,
    ui,
    bench,
    gc,
):
    name = verb.__name__.split(".")[-1]
    app.command(name)(getattr(verb, name))
app.command("submit", context_settings={"allow_interspersed_args": False})(submit.submit)
app.add_typer(runs.app, name="runs")
app.add_typer(sweep.app, name="sweep")
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")


_OF_PATHS = {  # what is wrong with a path that was given, where nobody has said it before
    errno.EEXIST: "it is there already, and a folder is needed. Name another",
    errno.ENOTDIR: "a part of it is a file, and has to be a folder. Name another",
    errno.EISDIR: "it is a folder, and a file is needed. Name another",
    errno.EACCES: "you may not. Name another, or change who may",
    errno.EPERM: "you may not. Name another, or change who may",
    errno.EROFS: "nothing can be written there. Name another",
    errno.ENOSPC: "it is full. Make room, or name another",
    errno.EDQUOT: "your share of it is full. Make room, or name another",
}


def run() -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 wrong usage, 3 a gate said no, 130
    interrupted (Typer's own answer to Ctrl-C). What else tells a job to stop does what Ctrl-C does."""
    stopping.answer_stop_signals()
    try:
        app()
    except YolabError as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if is_interruption(error):
            sys.exit(INTERRUPTED)
        if not isinstance(error, OSError) or error.errno not in _OF_PATHS:
            raise
        told = f"Can't use {error.filename or 'the disk'}: {_OF_PATHS[error.errno]}."
        console.print(f"[red]error:[/red] {escape(told)}", highlight=False, soft_wrap=True)
        sys.exit(UsageError.exit_code)
