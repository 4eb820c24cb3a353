"""Processes that begin as a terminal begins them, whatever began the tests: nohup lets them ignore signals."""

import signal
from collections.abc import Callable, Mapping
from typing import Any

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def answering(others: Mapping[signal.Signals, Any] | None = None) -> Callable[[], None]:
    """Return what a process does before it begins: answer what stops it as usual, but for `others`."""

    def begin() -> None:
        for number in _STOPS:
            signal.signal(number, (others or {}).get(number, signal.SIG_DFL))

    return begin
