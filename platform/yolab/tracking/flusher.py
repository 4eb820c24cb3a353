"""A thread that brings things to MLflow, which may be away for as long as it likes."""

import logging
import textwrap
import threading
import time
from collections.abc import Callable

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0

logger = logging.getLogger(__name__)


class Flusher:
    """A daemon thread that calls `deliver` each time it is woken, and never blocks or fails the work.

    It starts at the first `wake`. If `deliver` raises, MLflow is away, and is tried again: after 1, 2, … 30 s.
    """

    def __init__(self, deliver: Callable[[], object]) -> None:
        self._deliver = deliver
        self._pending = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._work, name="yolab-flusher", daemon=True)
        self._started = False
        self._done = False

    def wake(self) -> None:
        """Say that there is something to deliver; returns at once."""
        self._pending.set()
        if not self._started:
            self._started = True
            self._thread.start()

    def close(self, patience_seconds: float) -> bool:
        """Deliver the rest, for at most so long; return whether all was delivered."""
        self._deadline = time.monotonic() + patience_seconds
        self._closing.set()
        self.wake()
        self._thread.join(patience_seconds)
        return self._done

    def _work(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._pending.wait()
            closing = self._closing.is_set()  # asked before the work: what comes before `close` must be delivered
            self._pending.clear()
            failure = self._try()
            if failure is None:
                pause = FIRST_PAUSE_SECONDS
                if closing:
                    self._done = True
                    return
                continue
            if pause == FIRST_PAUSE_SECONDS and not closing:
                logger.warning("MLflow is away (%s). The work goes on, what it lacks is sent later.", failure)
            if time.monotonic() > self._deadline:
                return
            self._pending.set()
            if closing:
                time.sleep(FIRST_PAUSE_SECONDS)
            else:
                self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _try(self) -> str | None:
        """Deliver; return what went wrong, if anything."""
        try:
            self._deliver()
        except Exception as error:  # whatever it is, the work must not hear of it
            return textwrap.shorten(str(error), 200, placeholder=" …")
        return None
