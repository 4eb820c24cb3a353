"""How the commands speak: JSON alone on stdout, tables on stdout, everything else on stderr."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from yolab.jobs.result import Result, json_text
from yolab.jobs.watcher import Watcher

if TYPE_CHECKING:
    from yolab.jobs.watcher import RunningTrials

console = Console(stderr=True)
_SPEED_SECONDS = 600  # over which the time left is reckoned: with evaluations between the epochs, not only steps

# Options that many commands have
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
StorageOption = Annotated[
    str | None,
    typer.Option("--storage", envvar="YOLAB_STORAGE", show_envvar=False,
                 help="Where the runs are kept, a folder or s3://BUCKET/PREFIX; default: YOLAB_STORAGE, else runs."),
]  # fmt: skip
OnEnd = Annotated[
    str | None,
    typer.Option(help="A command that gets the result as JSON on its stdin, to tell it on."),
]
Restartable = Annotated[
    bool, typer.Option("--restartable", help="Go on with what this command began before, if it did, and wait for it.")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; default: the GPU, where there is one.")]
UriOption = Annotated[
    str | None, typer.Option(help="Of MLflow; default: MLFLOW_TRACKING_URI, else the file in the storage.")
]
Overrides = Annotated[list[str] | None, typer.Argument(help="key.path=value, as often as wanted.")]
ExperimentFile = Annotated[Path, typer.Argument(help="The experiment: a file, or a name of `yolab ls`.")]


class Terminal(Watcher):
    """Prints what a job says, and draws one progress bar, or a live table, where there is a terminal."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # without redirection: rich would put back what stdout was when it began, and Ray's block sends that to stderr
        settings: Any = {"console": console, "transient": True, "redirect_stdout": False, "redirect_stderr": False}
        self._bar = Progress(
            *columns, disable=not console.is_terminal, speed_estimate_period=_SPEED_SECONDS, **settings
        )
        self._new_live = lambda: Live(**settings)
        self._task: Any = None
        self._what = ""
        self._live: Live | None = None

    def note(self, text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    def progress(self, what: str, done: int = 0, total: int | None = None) -> None:
        if what != self._what:
            self.close()
            self._bar.start()
            self._task, self._what = self._bar.add_task(what, total=total), what
        self._bar.update(self._task, completed=done, total=total)
        if total is not None and done >= total:
            self._end_bar()

    def trials(self, running: "RunningTrials") -> None:
        self._end_bar()
        if not console.is_terminal:
            for line in running.news_lines():
                self.note(line)
            return
        title, columns, lines = running.table(most=max(1, console.height - 6))
        if self._live is None:
            self._live = self._new_live()
            self._live.start()
        self._live.update(table_of(title, columns, lines))

    def close(self) -> None:
        """Take the bar and the live table away."""
        self._end_bar()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _end_bar(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.stop()
            self._task, self._what = None, ""


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Give a watcher that prints; nothing of it is left on the screen but what it said."""
    watcher = Terminal()
    try:
        yield watcher
    finally:
        watcher.close()


def show(result: Result, as_json: bool, draw: Callable[[], object]) -> None:
    """Print a job's result as JSON, or by `draw`, and end with its exit code."""
    if as_json:
        print_json(result.document())
    else:
        draw()
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def say(text: str) -> None:
    """Print a line beside the result, on stderr."""
    console.print(escape(text), highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document; what is not a number becomes null."""
    print(json_text(document, indent=2))


def table_of(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table; fractions have three digits, and where one is an AP that is said. Where it is too wide its widest
    columns are folded, none is cut."""
    unit = "AP from 0 to 1" if any(column.lower().startswith("ap") for column in columns) else None
    table = Table(title=escape(title), title_justify="left", caption=unit, caption_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell(value)) for value in row))
    return table


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stdout: whole in a file or a pipe; in a terminal folded at spaces to its width, and where that
    doesn't do, row by row with a line for each column."""
    table, out = table_of(title, columns, rows), Console()
    least, whole = Measurement.get(out, out.options.update(max_width=1000), table)
    if not out.is_terminal:
        out = Console(width=max(whole, out.width))
    elif least > out.width:
        table = table_of(title, ["", ""], [pair for row in rows for pair in [*zip(columns, row), ("", "")]])
    out.print(table)


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return "-" if value is None else str(value)
