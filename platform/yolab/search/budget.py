"""When a sweep has to stop before it is done: its budget is spent, or somebody said so."""

import os
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from yolab.errors import UsageError
from yolab.polling import every_second
from yolab.search.sweep_folder import Events

_STOP, _ALIVE = "stop", "alive"
_ALIVE_SECONDS = 15.0  # without a sign of life, before a sweep counts as stopped


@dataclass(frozen=True)
class Budget:
    """What one call of `yolab sweep` may use: hours on the clock, ended trials, and money, at a price for an hour of
    one device: a GPU, or a CPU core where trials use no GPU."""

    hours: float | None = None
    trials: int | None = None
    cost: float | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        if self.cost is not None and self.price is None:
            raise UsageError("--max-cost needs --price, the price of one device (GPU, or core) for an hour.")

    def spent(self, hours: float, trials: int, device_hours: float) -> str | None:
        """Return in words which limit is reached, None if none is."""
        cost = device_hours * (self.price or 0)
        for limit, used, told in (
            (self.hours, hours, f"--max-hours {self.hours:g}" if self.hours is not None else ""),
            (self.trials, trials, f"--max-trials {self.trials}"),
            (self.cost, cost, f"--max-cost {self.cost:g}" if self.cost is not None else ""),
        ):
            if limit is not None and used >= limit:
                return f"{told} is reached"
        return None


@contextmanager
def watched(folder: Path, budget: Budget, devices: int) -> Iterator[list[str]]:
    """Give a list that tells, after the block, why it was stopped, if it was: as by Ctrl-C, when the budget of trials
    of so many devices each is spent, or when `ask_to_stop` was called elsewhere."""
    (folder / _STOP).unlink(missing_ok=True)
    events, started, why = Events(folder), time.monotonic(), list[str]()
    ended_before, hours_before = events.ended(), _hours(events)
    over = False

    def look() -> None:
        if over:
            return
        (folder / _ALIVE).write_text(f"{platform.node()} {os.getpid()}")
        hours = (time.monotonic() - started) / 3600
        device_hours = (_hours(events) - hours_before) * devices
        reason = budget.spent(hours, events.ended() - ended_before, device_hours)
        if (folder / _STOP).exists():
            reason = "it was asked to by --stop"
        if reason and not why:
            why.append(reason)
            os.kill(os.getpid(), signal.SIGINT)

    try:
        with every_second(look):
            try:
                yield why
            finally:
                over = True
    finally:
        for sign in (_STOP, _ALIVE):
            (folder / sign).unlink(missing_ok=True)


def ask_to_stop(folder: Path) -> None:
    """Let the sweep of a folder, wherever it runs, stop within seconds with its state saved."""
    (folder / _STOP).touch()


def require_free(folder: Path) -> None:
    """Raise UsageError if somebody works on the sweep of a folder."""
    if is_running(folder):
        raise UsageError(f"Another command works on {folder}: let it end, or `yolab sweep --stop {folder.name}`.")


def is_running(folder: Path) -> bool:
    """Return whether somebody works on the sweep of a folder."""
    try:
        host, _, process = (folder / _ALIVE).read_text().partition(" ")
        recent = time.time() - (folder / _ALIVE).stat().st_mtime < _ALIVE_SECONDS
    except FileNotFoundError:
        return False
    return recent and (host != platform.node() or _lives(int(process)))


def _lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE  # one that was killed and not yet waited for
    except psutil.NoSuchProcess:
        return False


def _hours(events: Events) -> float:
    return sum(float(row.get("time_total_s", 0.0)) for row in events.rows().values()) / 3600
