"""How the commands speak: JSON alone on stdout, tables on stdout, everything else on stderr."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(stderr=True)

JsonOption = typer.Option("--json", help="Print one JSON document on stdout.")


def print_json(document: Any) -> None:
    """Print one JSON document; what is not a number becomes null."""
    print(json.dumps(_without_nan(document), indent=2, default=str))


def table_of(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table; fractions have three digits."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    return table


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stdout, whole, however narrow the terminal."""
    table = table_of(title, columns, rows)
    out = Console()
    needed = Measurement.get(out, out.options.update(max_width=1000), table).maximum
    Console(width=max(needed, out.width)).print(table)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Give a progress display on stderr; without a terminal it stays silent."""
    columns = (TextColumn(what), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield progress


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return "-" if value is None else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value
