"""Doing something beside the work."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

Found = TypeVar("Found")

logger = logging.getLogger(__name__)


@contextmanager
def every_second(look: Callable[[], None], seconds: float = 1.0) -> Iterator[None]:
    """Call `look` about once a second, or in so many, inside the block, in a thread of its own, and once more at its
    end."""
    done = threading.Event()

    def look_whatever_comes() -> None:
        try:
            look()
        except Exception:  # the next look may go well, and the work goes on
            logger.exception("Looking failed.")

    def watch() -> None:
        while not done.wait(seconds):
            look_whatever_comes()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        look_whatever_comes()


def aside(work: Callable[..., Found], *arguments: Any) -> Found:
    """Return what `work` returns, or raise what it raises, in a thread of its own: this one can be interrupted."""
    done: Future[Found] = Future()

    def run() -> None:
        try:
            done.set_result(work(*arguments))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result()
