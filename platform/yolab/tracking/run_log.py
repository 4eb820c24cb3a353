"""What a run says while it trains: lines in its folder, for people, also after its end or its failure."""

import logging
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from yolab.errors import is_interruption

FILE_NAME = "log.txt"
_SAID = ("loss", "ap", "ap50", "lr", "epoch_seconds")

logger = logging.getLogger("yolab")


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """Append what yolab logs inside the block to the log in a run's folder, with the traceback of what ends it.
    Warnings are printed as well."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / FILE_NAME)
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


def say_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
    """Log the end of an epoch (from 1)."""
    logger.info("epoch %d  %s", epoch, "  ".join(f"{name} {metrics[name]:.4g}" for name in _SAID if name in metrics))


def _as_info(error: BaseException) -> tuple:
    return type(error), error, error.__traceback__
