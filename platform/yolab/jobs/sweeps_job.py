"""The sweeps of a storage: listed, looked at, stopped. Needs neither Ray nor torch, nor MLflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolab.jobs.result import Result
from yolab.jobs.session import Session
from yolab.reports import trials_table
from yolab.search.sweep_folder import SweepFolder, sweeps_in
from yolab.search.trial import Row, TrialState, best_of, front, is_scored, state_of

_IN_NOTE = 20  # trials in MLflow's description


@dataclass(frozen=True)
class SweepLine:
    """One sweep of a storage: how many trials have ended, how many were asked for (None: all points of a grid), the
    best AP so far."""

    name: str
    state: TrialState
    ended: int
    trials: int | None
    ap: float | None
    searcher: str
    scheduler: str
    digest: str


@dataclass(frozen=True)
class SweepList(Result):
    """The sweeps of a storage, the newest first."""

    storage: str
    sweeps: tuple[SweepLine, ...]

    def document(self) -> Any:
        return [vars(line) for line in self.sweeps]


@dataclass(frozen=True)
class SweepStatus(Result):
    """How far a sweep is, and what is known of each trial, the best first: those of the front where there are several
    objectives."""

    name: str
    state: TrialState
    objectives: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def best(self) -> Row | None:
        """What is known of the best trial that ended well, by AP (trial, point, ap, weights, …), None if none did."""
        return best_of(self.rows)

    def document(self) -> Any:
        whole = {"name": self.name, "state": self.state, "objectives": self.objectives}
        return whole | {"best": self.best, "trials": self.rows}

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return columns and lines for people."""
        return trials_table.whole(self.rows, self.objectives)

    def failures(self) -> list[str]:
        """Return a sentence for each trial that did not end well, and one for each objective that is no number."""
        bad = (row for row in self.rows if "reason" in row and not state_of(row).has_succeeded)
        told = [f"{row['trial']} {row['state']}: {row['reason']}" for row in bad]
        ended = [row for row in self.rows if state_of(row).has_succeeded]
        for objective in self.objectives:
            without = sum(not is_scored(row, [objective]) for row in ended)
            if without:
                told.append(f"{objective} of {without} of {len(ended)} trials is no number: nothing is learned.")
        return told


def list_sweeps(storage: str | Path | None = None) -> SweepList:
    """Return the sweeps of a storage."""
    place = Session.at(storage).storage
    return SweepList(str(place), tuple(_line(folder) for folder in sweeps_in(place)))


def sweep_status(name: str, storage: str | Path | None = None) -> SweepStatus:
    """Return what is known of a sweep's trials. Raises UsageError with the nearest name."""
    folder = SweepFolder.existing(Session.at(storage).storage, name)
    return SweepStatus(name, folder.state(), folder.request().objectives, tuple(sorted_rows(folder)))


def stop_sweep(name: str, storage: str | Path | None = None) -> None:
    """Let a sweep or table, wherever it runs, stop within seconds with its state saved. Raises UsageError if it doesn't
    run."""
    place = Session.at(storage).storage
    table = SweepFolder(place / name)
    (table if table.is_running() else SweepFolder.existing(place, name)).ask_to_stop()


def sorted_rows(folder: SweepFolder) -> list[Row]:
    """Return what is known of a sweep's trials, the best first; with several objectives each says whether it is on the
    `front`."""
    objectives, running = folder.request().objectives, folder.is_running()
    rows = [dict(row) for row in folder.rows().values()]
    best = front(rows, objectives) if len(objectives) > 1 else []
    rows.sort(key=lambda row: (row["trial"] not in best, -row.get("ap", -1.0)))
    for row in rows:
        row["seconds"] = round(row.get("time_total_s", 0.0), 1)
        if not state_of(row).has_ended and not running:
            row["state"] = TrialState.STOPPED
        if best:
            row["front"] = row["trial"] in best
    return rows


def as_markdown(folder: SweepFolder) -> str:
    """Return the best trials of a sweep as a table for MLflow's page."""
    return trials_table.markdown(sorted_rows(folder)[:_IN_NOTE], folder.request().objectives)


def _line(folder: SweepFolder) -> SweepLine:
    request, rows = folder.request(), folder.rows()
    best = max((row.get("ap", 0.0) for row in rows.values()), default=None)
    return SweepLine(
        folder.name, folder.state(), folder.ended(), request.trials, best, request.searcher, request.scheduler,
        request.digest,
    )  # fmt: skip
