"""What a run says while it trains: lines in its folder, for people, also after its end or its failure."""

import logging
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from yolab.errors import is_interruption
from yolab.storage import Storage

FILE_NAME = "log.txt"
_SAID = ("loss", "ap", "ap50", "lr", "epoch_seconds")

logger = logging.getLogger("yolab")


@contextmanager
def written(place: Storage) -> Iterator[None]:
    """Append what yolab logs inside the block to the log in a run's place, with the traceback of what ends it.
    Warnings are printed as well."""
    handler = _Appender(place)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handlers = [handler, *([logging.lastResort] if logging.lastResort else [])]
    before = logger.level
    for each in handlers:
        logger.addHandler(each)
    logger.setLevel(logging.INFO)
    try:
        logger.info("begins on %s", platform.node())
        yield
        logger.info("has ended")
    except BaseException as error:
        if not isinstance(error, SystemExit) and not is_interruption(error):
            handler.handle(logger.makeRecord("yolab", logging.ERROR, "", 0, "failed", (), _as_info(error)))
        raise
    finally:
        for each in handlers:
            logger.removeHandler(each)
        logger.setLevel(before)
        handler.close()


class _Appender(logging.Handler):
    """Adds lines to the log in a place."""

    def __init__(self, place: Storage) -> None:
        super().__init__()
        self.place, self.busy = place, False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.busy:  # the storage itself has something to say
            self.busy = True
            try:
                self.place.append(FILE_NAME, self.format(record).encode())
            finally:
                self.busy = False


def say_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
    """Log the end of an epoch (from 1)."""
    logger.info("epoch %d  %s", epoch, "  ".join(f"{name} {metrics[name]:.4g}" for name in _SAID if name in metrics))


def _as_info(error: BaseException) -> tuple:
    return type(error), error, error.__traceback__
