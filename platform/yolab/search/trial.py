"""The trials of a sweep: the states that they can be in, and what is known of each."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from yolab.evaluation.score_names import LATENCY, TRIAL_METRICS
from yolab.experiment import flatten

NAME, POINT = "trial", "point"  # what a trial is given, in its row and in Tune's configuration

_LONGEST_TITLE = 120  # characters

# What is known of a trial: trial, state, time, point, and, once known, epoch, ap, weights, …
Row = dict[str, Any]

OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    **dict.fromkeys(TRIAL_METRICS, "maximize"),
    **dict.fromkeys(("params", "gflops", LATENCY), "minimize"),
}


class TrialState(StrEnum):
    """How far a trial, a run, a sweep or a table is: the word that events and MLflow's tags have, and that is shown."""

    RUNNING = "running"
    FINISHED = "finished"  # had all of its epochs, or all that its patience gave it
    STOPPED_EARLY = "stopped early"  # by the scheduler: it goes on no more
    STOPPED = "stopped"  # with its state saved: it can go on
    FAILED = "failed"
    INFEASIBLE = "infeasible"  # the point is to blame: too large for the memory, or of a shape that can't be

    @property
    def mlflow_status(self) -> str:
        """The status of its run in MLflow."""
        return _MLFLOW_STATUS[self]

    @property
    def has_succeeded(self) -> bool:
        return self in (TrialState.FINISHED, TrialState.STOPPED_EARLY)

    @property
    def has_ended(self) -> bool:
        """Whether it goes on no more, for good or bad."""
        return self.has_succeeded or self in (TrialState.FAILED, TrialState.INFEASIBLE)


_MLFLOW_STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.FINISHED: "FINISHED",
    TrialState.STOPPED_EARLY: "FINISHED",
    TrialState.STOPPED: "KILLED",
    TrialState.FAILED: "FAILED",
    TrialState.INFEASIBLE: "FAILED",
}


def title(sweep: str, name: str, point: Mapping[str, Any]) -> str:
    """Return what MLflow's page calls a trial: its sweep and number with its values by their last names, those of the
    scale by a letter, as `mine/003 w0.5 d1 top_k=12`; a row of a table by its name alone."""
    number = re.fullmatch(r"trial-(\d+)", name)
    if not number:
        return f"{sweep}/{name}"
    values = []
    for path, value in flatten(point):
        group, _, last = path.rpartition(".")
        values.append(f"{last[0]}{brief(value)}" if group == "model.scale" else f"{last}={brief(value)}")
    return " ".join([f"{sweep}/{number[1]}", *values])[:_LONGEST_TITLE]


def brief(value: Any) -> str:
    """Return a value of a point as people like to read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def state_of(row: Row) -> TrialState:
    return TrialState(row["state"])


def is_scored(row: Row, objectives: Iterable[str]) -> bool:
    """Return whether a trial ended well and each of the objectives is a number. The AP of small objects is none where
    the validation split has no such object."""
    return state_of(row).has_succeeded and all(math.isfinite(row.get(name, math.nan)) for name in objectives)


def best_of(rows: Iterable[Row]) -> Row | None:
    """Return the trial that ended well with the highest AP, None if none did."""
    ended = (row for row in rows if is_scored(row, ["ap"]))
    return max(ended, key=lambda row: row["ap"], default=None)


def front(rows: Sequence[Row], objectives: Sequence[str]) -> list[str]:
    """Return the names of the trials that no other beats in one objective without losing in another (Pareto front)."""
    signs = [1 if OBJECTIVES[name] == "maximize" else -1 for name in objectives]
    scored = {
        row[NAME]: [sign * row[name] for sign, name in zip(signs, objectives)]
        for row in rows
        if is_scored(row, objectives)
    }
    return [
        name
        for name, own in scored.items()
        if not any(other != own and all(a >= b for a, b in zip(other, own)) for other in scored.values())
    ]
