"""Doing something again and again beside the work."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def every_second(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` about once a second inside the block, in a thread of its own, and once more at its end."""
    done = threading.Event()

    def look_whatever_comes() -> None:
        try:
            look()
        except Exception:  # the next look may go well, and the work goes on
            logger.exception("Looking failed.")

    def watch() -> None:
        while not done.wait(1.0):
            look_whatever_comes()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        look_whatever_comes()
