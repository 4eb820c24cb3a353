"""When a sweep has to stop before it is done: its budget is spent, or somebody said so."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from yolab.errors import UsageError
from yolab.polling import every_second
from yolab.search.schedulers import changes_points
from yolab.search.sweep_folder import SweepFolder
from yolab.storage.stop_sign import insisting


@dataclass(frozen=True)
class Budget:
    """What one command may use for a sweep: hours on the clock, ended trials, money, at a price for an hour of one
    device (a GPU, or a CPU core where trials use no GPU), and so many trials at the same time."""

    hours: float | None = None
    trials: int | None = None
    cost: float | None = None
    price: float | None = None
    concurrent: int | None = None

    def __post_init__(self) -> None:
        if self.cost is not None and self.price is None:
            raise UsageError("--max-cost needs --price, the price of one device (GPU, or core) for an hour.")
        if self.price is not None and self.cost is None:
            raise UsageError("--price does nothing without --max-cost: give both, or neither.")

    def check_scheduler(self, name: str) -> None:
        """Raise UsageError if the trials of a scheduler can't be run so many at the same time."""
        if self.concurrent is not None and changes_points(name):
            raise UsageError(f"--max-concurrent does nothing with --scheduler {name}: all its trials take turns.")

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


@dataclass(frozen=True)
class Stop:
    """Why a sweep stopped before it was done; `interrupted` if somebody said so, and not its own budget."""

    reason: str
    interrupted: bool


@contextmanager
def watched(
    folder: SweepFolder,
    budget: Budget,
    devices: int,
    told: Callable[[], bool],
    look: Callable[[], None] = lambda: None,
) -> Iterator[list[Stop]]:
    """Put up the stop sign of a sweep when this command was `told` to stop, or the budget of trials of so many devices
    each is spent; see `insisting`. Give a list that tells, after the block, why it was stopped, if it was, and not by
    this command's user: what was reached or asked for just as the work ended is told, too.

    The caller holds the folder and is in the main thread. `look` is called about once a second.
    """
    events, started, why = SweepFolder(folder.place), time.monotonic(), list[Stop]()
    ended_before, hours_before = events.ended(), _hours(events)
    sign = folder.stop_sign

    def find_reason() -> None:
        hours = (time.monotonic() - started) / 3600
        device_hours = (_hours(events) - hours_before) * devices
        spent = budget.spent(hours, events.ended() - ended_before, device_hours)
        stop = Stop(spent, interrupted=False) if spent else None
        if sign.is_up():
            stop = Stop("it was asked to by `yolab sweep stop`", interrupted=True)
        if folder.hold.lost:
            stop = Stop("another command has taken it over", interrupted=True)
        if stop and not (why or told()):
            why.append(stop)

    def is_to_stop() -> bool:
        return bool(why) or told()

    def is_to_end_at_once() -> bool:
        return folder.hold.lost and is_to_stop()  # when the reason is known, which is found beside this

    with every_second(look), every_second(find_reason), insisting(sign, is_to_stop, is_to_end_at_once):
        yield why


def _hours(folder: SweepFolder) -> float:
    return sum(float(row.get("time_total_s", 0.0)) for row in folder.rows().values()) / 3600
