"""Runs as a table, for a spreadsheet or for pandas."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from yolab.errors import UsageError

ENDINGS = (".parquet", ".csv")


def frame(found: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a row for each run that `mlflow_runs.list_runs` gives: its columns, those of dicts as `metrics.ap`.

    Times are UTC; parameters are text, as MLflow keeps them.
    """
    rows = [
        {**{name: value for name, value in run.items() if not isinstance(value, dict)}, **_flat(run)} for run in found
    ]
    table = pd.DataFrame(rows)
    for column in {"start_time", "end_time"} & set(table.columns):
        table[column] = pd.to_datetime(table[column], unit="ms", utc=True)
    return table


def export(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Write runs as Parquet or CSV, by the file's ending. Raises UsageError for another."""
    if path.suffix not in ENDINGS:
        raise UsageError(f"Can't export to {path}: its name should end in {' or '.join(ENDINGS)}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = frame(found)
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)


def _flat(run: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{part}.{name}": value for part in ("metrics", "params", "tags") for name, value in sorted(run[part].items())
    }
