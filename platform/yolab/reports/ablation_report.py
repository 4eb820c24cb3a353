"""A table of the paper as it was run: beside the published figures, for the terminal, as CSV, Markdown and LaTeX."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolab.search.ablation_table import COLUMNS, Group, Row, Table

_COUNTS = ("params", "flops")  # improve by falling, told in percent
_DIGITS = {"params": 1, "flops": 1, "size": 0, "fps": 1}
_OURS, _PUBLISHED, _IMPROVEMENT = "ours", "published", "improvement"


@dataclass(frozen=True)
class RowResult:
    """What a row came to: for each column the values of its runs (AP as a fraction), and the MLflow runs."""

    values: Mapping[str, Sequence[float]]
    runs: Sequence[str]


@dataclass(frozen=True)
class Line:
    """A printed line: a row's name, whose figures they are, and a figure for each column, None where there is none;
    `spreads` are standard deviations over seeds."""

    name: str
    source: str
    figures: Mapping[str, float | None]
    spreads: Mapping[str, float]
    runs: Sequence[str] = ()


def lines(table: Table, results: Mapping[str, RowResult]) -> list[list[Line]]:
    """Return the lines of each group: of a row first ours, if it was run, then the published ones; then the
    improvements."""
    return [_lines_of(group, results) for group in table.groups]


def as_text(line: Line, columns: Sequence[str]) -> list[str]:
    """Return a line as cells: the row's name, whose figures they are, the figures."""
    return [line.name, line.source, *(_cell(line, column) for column in columns)]


def save(table: Table, says: str, groups: Sequence[Sequence[Line]], folder: Path) -> list[Path]:
    """Write the table as CSV, Markdown and LaTeX into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, content in (
        ("csv", _csv(table, groups)),
        ("md", _markdown(table, says, groups)),
        ("tex", _latex(table, says, groups)),
    ):
        path = folder / f"{table.name}.{ending}"
        path.write_text(content)
        written.append(path)
    return written


def _lines_of(group: Group, results: Mapping[str, RowResult]) -> list[Line]:
    found = []
    for row in group.rows:
        if row.name in results:
            found.append(_ours(row, results[row.name]))
        if row.published:
            found.append(Line(row.name, _PUBLISHED, _as_fractions(row.published), {}))
    for source in (_OURS, _PUBLISHED) if group.improvement else ():
        better, base = (
            next((line for line in found if (line.name, line.source) == (name, source)), None)
            for name in group.improvement or ()
        )
        if better and base:
            found.append(Line(f"{_IMPROVEMENT} ({source})", source, _differences(better, base), {}))
    return found


def _as_fractions(published: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return published figures, whose scores are in percent, in the unit of ours."""
    return {
        column: value if value is None or column in _DIGITS else round(value / 100, 6)
        for column, value in published.items()
    }


def _ours(row: Row, result: RowResult) -> Line:
    several = {column: values for column, values in result.values.items() if len(values) > 1}
    return Line(
        row.name,
        _OURS,
        {column: statistics.fmean(values) for column, values in result.values.items() if values},
        {column: statistics.stdev(values) for column, values in several.items() if column not in (*_COUNTS, "size")},
        result.runs,
    )


def _differences(better: Line, base: Line) -> dict[str, float | None]:
    """Return by how much one line differs from another: counts in percent."""
    found: dict[str, float | None] = {}
    for column, value in better.figures.items():
        other = base.figures.get(column)
        if value is not None and other is not None and column != "size":
            difference = 100 * (value / other - 1) if column in (*_COUNTS, "fps") else value - other
            found[column] = round(difference, 6)
    return found


def _cell(line: Line, column: str) -> str:
    value = line.figures.get(column)
    if value is None or value != value:
        return "-"
    if line.name.startswith(_IMPROVEMENT):
        return f"{value:+.0f}%" if column in (*_COUNTS, "fps") else f"{value:+.3f}"
    text = f"{value:.{_DIGITS.get(column, 4)}f}" if column not in _COUNTS or value >= 1 else f"{value:.2g}"
    if line.source == _PUBLISHED and column not in _DIGITS:
        text = text.removesuffix("0")  # some tables have one digit more
    unit = {"params": "M", "flops": "G"}.get(column, "")
    spread = f" ± {line.spreads[column]:.{_DIGITS.get(column, 3) + 1}f}" if column in line.spreads else ""
    return f"{text}{unit}{spread}"


def _csv(table: Table, groups: Sequence[Sequence[Line]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    spreads = [column for column in table.columns if any(column in line.spreads for group in groups for line in group)]
    writer.writerow(["row", "source", *table.columns, *(f"{column}_std" for column in spreads), "runs"])
    for line in (line for group in groups for line in group):
        figures: list[Any] = [line.figures.get(column) for column in table.columns]
        writer.writerow([line.name, line.source, *figures, *map(line.spreads.get, spreads), " ".join(line.runs)])
    return out.getvalue()


def _markdown(table: Table, says: str, groups: Sequence[Sequence[Line]]) -> str:
    heads = ["row", "", *(COLUMNS[column] for column in table.columns)]
    rows = [as_text(line, table.columns) for group in groups for line in group]
    parts = [f"## {table.title}", "", says, "", _bar(heads), _bar(["---"] * len(heads)), *map(_bar, rows)]
    return "\n".join(parts) + "\n"


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex(table: Table, says: str, groups: Sequence[Sequence[Line]]) -> str:
    heads = ["row", "", *(COLUMNS[column] for column in table.columns)]
    parts = [
        r"\begin{table}",
        rf"\caption{{{_escaped(table.title)}. {_escaped(says)}}}",
        rf"\begin{{tabular}}{{ll{'r' * len(table.columns)}}}",
        r"\hline",
        _latex_row(heads),
    ]
    for group in groups:
        parts += [r"\hline", *(_latex_row(as_text(line, table.columns)) for line in group)]
    return "\n".join([*parts, r"\hline", r"\end{tabular}", r"\end{table}"]) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    for sign in "%_&#":
        text = text.replace(sign, rf"\{sign}")
    return text.replace("±", r"$\pm$")
