"""What a sweep or a table keeps in the storage: what was asked for, what has happened to its trials, who works on it,
and whether it should stop. Every command reads it here."""

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from yolab.errors import UsageError
from yolab.experiment import nearest
from yolab.search.request import SweepRequest
from yolab.search.trial import NAME, Row, TrialState, state_of
from yolab.storage import Storage, claim
from yolab.storage.document import FORMAT, check_version

EVENTS = "events.jsonl"
_EVENTS_VERSION = 1
_STOP, _LOCK = "stop", "alive"
_BEAT_SECONDS = 2.0
_ALIVE_SECONDS = 15.0  # without a sign of life, before a sweep counts as stopped


class SweepFolder:
    """The folder of one sweep, or of the trials of a table."""

    def __init__(self, place: Storage) -> None:
        self.place = place
        self._read = 0
        self._rows: dict[str, Row] = {}
        self._beaten = 0.0

    @classmethod
    def existing(cls, storage: Storage, name: str) -> "SweepFolder":
        """Return the sweep of that name. Raises UsageError with the nearest name."""
        names = [folder.name for folder in sweeps_in(storage)]
        if name not in names:
            meant = f" Did you mean {nearest(name, names)}?" if names else ""
            raise UsageError(f"There is no sweep {name} in {storage}.{meant}")
        return cls(storage / name)

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
        trials = self.request().trials
        all_ended = self.ended() == len(self.rows()) if trials is None else self.ended() >= trials
        return TrialState.FINISHED if all_ended and self.rows() else TrialState.STOPPED

    # who works on it

    def is_running(self) -> bool:
        """Return whether somebody works on it."""
        try:
            host, _, process = self.place.read(_LOCK).decode().partition(" ")
            recent = self.place.age_seconds(_LOCK) < _ALIVE_SECONDS
        except FileNotFoundError:
            return False
        return recent and (host != platform.node() or _lives(int(process)))

    def require_free(self) -> None:
        """Raise UsageError if somebody works on it."""
        if self.is_running():
            raise UsageError(f"Another command works on {self.place}: let it end, or `yolab sweep stop {self.name}`.")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one who works on it inside the block, which calls `beat` every few seconds. Raises UsageError if
        another one does."""
        if not self.place.create(_LOCK, _own_mark()):
            self.require_free()
            self.place.remove(_LOCK)  # of a command that was killed
            if not self.place.create(_LOCK, _own_mark()):
                self.require_free()
        self.place.remove(_STOP)
        try:
            yield
        finally:
            self.place.remove(_STOP)
            self.place.remove(_LOCK)

    def beat(self) -> bool:
        """Give a sign of life, if it is time for one; return whether the folder is still held by this process, for two
        may have found the lock of a killed command at the same moment."""
        if time.monotonic() - self._beaten > _BEAT_SECONDS:
            if self.place.exists(_LOCK) and self.place.read(_LOCK) != _own_mark():
                return False
            self._beaten = time.monotonic()
            self.place.write(_LOCK, _own_mark())
        return True

    # whether it should stop

    def ask_to_stop(self) -> None:
        """Let the sweep, wherever it runs, stop within seconds with its state saved. Raises UsageError if nobody works
        on it."""
        if not self.is_running():
            raise UsageError(
                f"Nobody works on the sweep {self.name}: `yolab sweep status {self.name}` shows how far it is."
            )
        self.place.write(_STOP, b"")

    def should_stop(self) -> bool:
        return self.place.exists(_STOP)


def sweeps_in(storage: Storage) -> list[SweepFolder]:
    """Return the folders of all sweeps, the newest first."""
    places = [storage / name for name in storage.names() if (storage / name).exists(claim.FILE_NAME)]
    folders = [SweepFolder(place) for place in places if _is_sweep(place)]
    return sorted(folders, key=lambda folder: folder.place.age_seconds(claim.FILE_NAME))


def _is_sweep(place: Storage) -> bool:
    try:
        SweepFolder(place).request()
    except UsageError:
        return False
    return True


def _own_mark() -> bytes:
    return f"{platform.node()} {os.getpid()}".encode()


def _lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE  # one that was killed and not yet waited for
    except psutil.NoSuchProcess:
        return False
