"""A sign in the storage that who works on a place is to save its state and leave."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from yolab.polling import every_second
from yolab.signals import answered_as_before
from yolab.storage.place import Storage

_NAME = "stop"
_LOOK_SECONDS = 2.0
_LEAVE_SECONDS = 120.0


class StopSign:
    """The sign of a place, a run's or a sweep's; whoever holds the place takes it down."""

    def __init__(self, place: Storage) -> None:
        self.place = place

    def put_up(self) -> None:
        self.place.write(_NAME, b"")

    def take_down(self) -> None:
        self.place.remove(_NAME)

    def is_up(self) -> bool:
        return self.place.exists(_NAME)

    @contextmanager
    def watched(self) -> Iterator[Callable[[], bool]]:
        """Give what says, at no cost, whether the sign was up within the last seconds."""
        seen = list[bool]()

        def look() -> None:
            if not seen and self.is_up():
                seen.append(True)

        with every_second(look, _LOOK_SECONDS):
            yield lambda: bool(seen)


@contextmanager
def insisting(sign: StopSign, told: Callable[[], bool], at_once: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Put a sign up once this command was `told` to stop. Who doesn't leave the block within two minutes, or has to
    `at_once`, is interrupted, if it is in the main thread: what was to leave may hang, or wait for room. Ray Tune, too,
    ends by the signal that is used, which, unlike Ctrl-C, no script ignores.
    """
    deadline, inside = math.inf, threading.current_thread() is threading.main_thread()

    def look() -> None:
        nonlocal deadline
        if at_once():
            deadline = 0.0
        elif told() and deadline == math.inf:
            sign.put_up()
            deadline = time.monotonic() + _LEAVE_SECONDS
        if time.monotonic() >= deadline and inside:
            os.kill(os.getpid(), signal.SIGUSR1)

    with answered_as_before([signal.SIGUSR1]), every_second(look):
        if inside:
            signal.signal(signal.SIGUSR1, signal.default_int_handler)
        try:
            yield
        finally:
            inside = False
