"""Runs, sweeps and tables that nobody needs any more, removed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.jobs.result import Result
from yolab.jobs.session import Session
from yolab.storage import Storage, claim
from yolab.storage.hold import Hold
from yolab.tracking import find_runs, mlflow_runs
from yolab.tracking.mlflow_runs import KEY_TAG
from yolab.tracking.mlflow_uri import without_password
from yolab.tracking.tags import SWEEP_TAG


@dataclass(frozen=True)
class Removal(Result):
    """What goes, or has gone if it is `done`: the runs in MLflow, those of trials too, and the folders in the storage
    with the bytes in them; `uri`: of the MLflow, without its password."""

    runs: tuple[str, ...]
    folders: tuple[str, ...]
    bytes: int
    done: bool
    uri: str

    def document(self) -> dict[str, Any]:
        return asdict(self)


def remove(
    names: Sequence[str], *, really: bool = False, storage: str | Path | None = None, uri: str | None = None
) -> Removal:
    """Remove runs, and sweeps and tables with all their trials, from MLflow's lists and from the storage; unless
    `really`, say only what would go. MLflow keeps what it had of them until `mlflow gc`.

    Raises UsageError, before anything goes, if there is none of a name, or several, if it is a trial of a sweep, if
    somebody works on it, or if a registered model comes from it.
    """
    session = Session.at(storage, uri)
    if really:
        session.storage.require_writable()
    found = {name: _runs_of(session, name) for name in dict.fromkeys(names)}
    runs = [run for each in found.values() for run in each]
    named = [(run["name"], run["tags"].get(KEY_TAG)) for run in runs if not run["parent_id"]]
    named += [(name, None) for name, each in found.items() if not each]
    places = [place for name, key in named if (place := _folder(session, name, key))]
    for place in places:
        Hold(place).require_free()
    registered = mlflow_runs.registered_from(session.uri) if runs else {}
    for run in runs:
        if run["run_id"] in registered:
            version = registered[run["run_id"]]
            raise UsageError(f"{find_runs.place_of(run)} stays: the registered {version} comes from it.")
    size = sum(place.size() for place in places)
    if really:
        for run in runs:
            mlflow_runs.delete_run(session.uri, run["run_id"])
        for place in places:
            session.storage.remove(place.name)
    return Removal(
        tuple(map(find_runs.place_of, runs)), tuple(map(str, places)), size, really, without_password(session.uri)
    )


def _folder(session: Session, name: str, key: str | None = None) -> Storage | None:
    """Return the folder of a run, sweep or table of that name, and of that key if there is one."""
    place = session.storage / name
    if name not in session.storage.names() or not place.exists(claim.FILE_NAME):
        return None
    return place if key in (None, claim.claimed(place)[0]) else None


def _runs_of(session: Session, name: str) -> list[dict[str, Any]]:
    """Return the run of a name, after its trials if it has any; none if only the storage knows it."""
    found = find_runs.called(session.uri, name)
    if not found and not _folder(session, name):
        find_runs.any_run(session.uri, name)  # says what is there
    if len(found) > 1:
        ids = ", ".join(run["run_id"] for run in found)
        raise UsageError(f"{len(found)} runs are called {name}: say which by its id ({ids}).")
    for run in found:
        sweep = run["tags"].get(SWEEP_TAG)
        if sweep:
            raise UsageError(f"{name} can't go alone: it is a part of {sweep}, which can go as a whole.")
    return [*(trial for run in found for trial in mlflow_runs.list_runs(session.uri, parent=run["run_id"])), *found]
