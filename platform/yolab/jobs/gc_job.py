"""What the storage holds that nobody needs any more."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolab.data import copies
from yolab.errors import UsageError
from yolab.jobs.result import Result
from yolab.jobs.session import Session
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import TrialState
from yolab.storage import Storage, claim
from yolab.storage.checkpoints import FOLDER
from yolab.storage.hold import Hold
from yolab.tracking import outbox
from yolab.tracking.outbox import Outbox
from yolab.training.checkpoint import WEIGHTS


@dataclass(frozen=True)
class Garbage(Result):
    """What goes, or has gone if it is `done`, by its name in the storage, with its bytes: `checkpoints` of runs that
    are at their end, whose weights stay, and `leftovers` of writes that were broken off; `copies` that this machine has
    of data sets that are kept elsewhere, which nobody uses at this moment."""

    checkpoints: dict[str, int]
    leftovers: dict[str, int]
    copies: dict[str, int]
    done: bool

    @property
    def bytes(self) -> int:
        return sum(sum(each.values()) for each in (self.checkpoints, self.leftovers, self.copies))

    def document(self) -> Any:
        return {**asdict(self), "bytes": self.bytes}


def collect(*, really: bool = False, storage: str | Path | None = None) -> Garbage:
    """Find what nobody needs, and remove it if that is `really` meant. A run, or a sweep with its trials, that somebody
    works on, that can go on, or that MLflow has yet to hear of, keeps everything. Raises UsageError."""
    place = Session.at(storage).storage
    if really:
        place.require_writable()
    checkpoints = {f"{name}/{FOLDER}": (place / name / FOLDER).size() for name in _at_their_end(place)}
    here = {str(path): size for path, size in copies.unused().items()}
    found = Garbage(checkpoints, place.leftovers(), here, really)
    if really:
        for name in found.checkpoints:
            place.remove(name)
        for name in found.leftovers:
            place.remove_leftover(name)
        for name in found.copies:
            copies.remove_unused(Path(name))
    return found


def _at_their_end(storage: Storage) -> Iterator[str]:
    """Yield the names of runs, and sweep/trial, that have checkpoints and need them no more."""
    for name in storage.names():
        place = storage / name
        if not place.exists(claim.FILE_NAME) or Hold(place).is_held():
            continue
        if _needs_none(place):
            yield name
        if _has_ended(place):
            yield from (f"{name}/{trial}" for trial in place.names() if _needs_none(place / trial))


def _needs_none(run: Storage) -> bool:
    if not (run.exists(outbox.FILE_NAME) and run.exists(WEIGHTS) and run.exists(FOLDER)):
        return False
    said = Outbox(run)
    state = said.state()
    return state is not None and state.has_succeeded and not said.left()


def _has_ended(place: Storage) -> bool:
    """Return whether a place is that of a sweep, or of a table, that is at its end."""
    try:
        return SweepFolder(place).state() is TrialState.FINISHED
    except UsageError:
        return Outbox(place).state() is TrialState.FINISHED
