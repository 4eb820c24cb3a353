"""The command `yolab`: one file a verb; here is what they share: the way out."""

import sys

import click
import typer

from yolab.cli import data, doctor, evaluate, models, predict, promote, runs, sweep, train, ui
from yolab.cli.output import console
from yolab.errors import YolabError

INTERRUPTED = 130

app = typer.Typer(
    help="A lab for YOLOv7-style detectors: sweep on Ray, compare in MLflow, promote the best, proven equal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verb in (doctor, models, train, evaluate, predict, sweep, runs, promote, ui):
    name = verb.__name__.split(".")[-1]
    app.command(name)(getattr(verb, name))
app.add_typer(data.app, name="data")


def run() -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 wrong usage, 3 a gate said no, 130
    interrupted."""
    try:
        code = app(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except YolabError as error:
        console.print(f"[red]error:[/red] {error}", markup=True, highlight=False, soft_wrap=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.print("Interrupted; everything up to the last finished epoch is saved.")
        code = INTERRUPTED
    sys.exit(code)
