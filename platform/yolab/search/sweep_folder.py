"""What has happened to the trials of a sweep: one JSON line an event in its folder. Every command reads it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

FILE_NAME = "events.jsonl"
SUCCEEDED = ("finished", "stopped early")
ENDED = (*SUCCEEDED, "failed", "infeasible")
NAME, POINT = "trial", "point"  # what a trial is given
OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "ap": "maximize",
    "ap50": "maximize",
    "ap_small": "maximize",
    "params": "minimize",
    "gflops": "minimize",
    "latency_ms": "minimize",
}

Row = dict[str, Any]  # what is known of a trial: trial, state, time, point, and, once known, epoch, ap, weights, …


class Events:
    """The events of one sweep, followed while they are written; only the sweep's driver appends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._read = 0
        self._rows: dict[str, Row] = {}

    def append(self, event: Mapping[str, Any]) -> None:
        """Write an event, with its `trial` and `state`, on a line of its own even if a kill has torn the last one."""
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(event).encode() + b"\n")

    def rows(self) -> dict[str, Row]:
        """Return the last that is known of each trial, by its name, in the order in which they started."""
        self.news()
        return self._rows

    def news(self) -> list[Row]:
        """Return the events since the last look, by this method or another; torn lines are left out."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            found.append(event)
            self._rows[event[NAME]] = self._rows.get(event[NAME], {}) | event
        return found

    def has_succeeded(self, trial: str) -> bool:
        """Return whether a trial has ended well. Tune may not have noted it yet when its driver was killed."""
        return self.rows().get(trial, {}).get("state") in SUCCEEDED

    def ended(self) -> int:
        """Return how many trials have come to an end, good or bad."""
        return sum(row["state"] in ENDED for row in self.rows().values())


def front(rows: Sequence[Row], objectives: Sequence[str]) -> list[str]:
    """Return the names of the trials that no other beats in one objective without losing in another (Pareto front)."""
    signs = [1 if OBJECTIVES[name] == "maximize" else -1 for name in objectives]
    scored = {
        row[NAME]: [sign * row[name] for sign, name in zip(signs, objectives)]
        for row in rows
        if row["state"] in SUCCEEDED and all(name in row for name in objectives)
    }
    return [
        name
        for name, own in scored.items()
        if not any(other != own and all(a >= b for a, b in zip(other, own)) for other in scored.values())
    ]
