"""How the process keeps memory."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's mallopt


def keep_freed_memory() -> None:
    """Keep what tensors free for the next ones. glibc would give large blocks back to the system and fetch them anew,
    page by page, in every step on the CPU."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        for setting, value in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1), (_M_TOP_PAD, 1 << 26)):
            if mallopt:
                mallopt(setting, value)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Let no garbage be looked for inside the block, which makes millions of objects and no cycles: to look through
    them again and again takes longer than to make them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
