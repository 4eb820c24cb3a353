"""What a sweep or a table keeps in the storage: what was asked for, what has happened to its trials, who works on it,
and whether it should stop. Every command reads it here."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from yolab.errors import UsageError
from yolab.experiment import did_you_mean
from yolab.search.request import SweepRequest
from yolab.search.trial import NAME, Row, TrialState, state_of
from yolab.storage import Storage, claim
from yolab.storage.document import FORMAT, check_version
from yolab.storage.hold import Hold
from yolab.storage.stop_sign import StopSign

EVENTS = "events.jsonl"
_EVENTS_VERSION = 1
_ENDED = "ended"


class SweepFolder:
    """The folder of one sweep, or of the trials of a table."""

    def __init__(self, place: Storage) -> None:
        self.place = place
        self._read = 0
        self._rows: dict[str, Row] = {}
        self.hold, self.stop_sign = Hold(place), StopSign(place)

    @classmethod
    def existing(cls, storage: Storage, name: str) -> "SweepFolder":
        """Return the sweep of that name. Raises UsageError with the nearest name."""
        if (storage / name).exists(claim.FILE_NAME):
            SweepFolder(storage / name).request()  # says what it is, if it is no sweep, or a newer yolab's
            return cls(storage / name)
        names = [folder.name for folder in sweeps_in(storage)]
        raise UsageError(f"There is no sweep {name} in {storage}.{did_you_mean(name, names)}")

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def key(self) -> str:
        """By which the sweep's MLflow run is found again."""
        return claim.claimed(self.place)[0]

    def request(self) -> SweepRequest:
        """Return what the sweep was asked for. Raises UsageError if the folder is none of a sweep."""
        return SweepRequest.of(claim.claimed(self.place)[1], str(self.place))

    # events: one JSON line each; only the one who works on the sweep appends

    def append(self, event: Mapping[str, Any]) -> None:
        """Write an event, with its `trial` and `state`."""
        if not self.place.exists(EVENTS):
            self.place.append(EVENTS, json.dumps({FORMAT: _EVENTS_VERSION}).encode())
        self.place.append(EVENTS, json.dumps(event).encode())

    def rows(self) -> dict[str, Row]:
        """Return the last that is known of each trial, by its name, in the order in which they started."""
        self.news()
        return self._rows

    def news(self) -> list[Row]:
        """Return the events since the last look, by this method or another; torn lines are left out."""
        try:
            content = self.place.read(EVENTS, self._read)
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if FORMAT in event:
                check_version(event[FORMAT], _EVENTS_VERSION, str(self.place / EVENTS))
                continue
            found.append(event)
            self._rows[event[NAME]] = self._rows.get(event[NAME], {}) | event
        return found

    def has_succeeded(self, trial: str) -> bool:
        """Return whether a trial has ended well. Tune may not have noted it yet when its driver was killed."""
        row = self.rows().get(trial)
        return row is not None and state_of(row).has_succeeded

    def ended(self) -> int:
        """Return how many trials have come to an end, good or bad."""
        return sum(state_of(row).has_ended for row in self.rows().values())

    def state(self) -> TrialState:
        """Return how far the sweep is."""
        if self.is_running():
            return TrialState.RUNNING
        try:
            return TrialState(self.place.read(_ENDED).decode())
        except (FileNotFoundError, ValueError):  # of an earlier yolab, or killed
            trials = self.request().trials
            return TrialState.FINISHED if trials is not None and self.ended() >= trials else TrialState.STOPPED

    def record_end(self, state: TrialState) -> None:
        """Write down how the sweep ended, until somebody goes on with it."""
        self.place.write(_ENDED, state.encode())

    # who works on it

    def is_running(self) -> bool:
        """Return whether somebody works on it."""
        return self.hold.is_held()

    def require_free(self) -> None:
        """Raise UsageError if somebody works on it."""
        if self.is_running():
            raise UsageError(f"Another command works on {self.place}: let it end, or `yolab sweep stop {self.name}`.")

    @contextmanager
    def held(self, waiting: Callable[[str], object] | None = None) -> Iterator[None]:
        """Be the one who works on it inside the block; see `Hold.held`, or, if somebody hears of `waiting`,
        `Hold.awaited`."""
        with self.hold.awaited(waiting) if waiting else self.hold.held():
            self.place.remove(_ENDED)
            self.stop_sign.take_down()
            try:
                yield
            finally:
                if not self.hold.lost:
                    self.stop_sign.take_down()

    # whether it should stop

    def ask_to_stop(self) -> None:
        """Let the sweep, wherever it runs, stop within seconds with its state saved. Raises UsageError if nobody works
        on it."""
        if not self.is_running():
            raise UsageError(
                f"Nobody works on the sweep {self.name}: `yolab sweep status {self.name}` shows how far it is."
            )
        self.stop_sign.put_up()


def sweeps_in(storage: Storage) -> list[SweepFolder]:
    """Return the folders of all sweeps, the newest first."""
    places = [storage / name for name in storage.names() if (storage / name).exists(claim.FILE_NAME)]
    folders = [SweepFolder(place) for place in places if _is_sweep(place)]
    return sorted(folders, key=lambda folder: -folder.place.written_at(claim.FILE_NAME))


def _is_sweep(place: Storage) -> bool:
    try:
        SweepFolder(place).request()
    except UsageError:
        return False
    return True
