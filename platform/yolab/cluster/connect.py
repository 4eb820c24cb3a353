"""Reaching a Ray cluster: the one that RAY_ADDRESS names, else one of our own on this machine while it is needed."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from yolab.errors import UsageError
from yolab.preflight import Capacity

TRIAL_RESOURCE = "trial"  # what the driver of a nested run occupies, so that it takes no CPU from its workers


@contextmanager
def connected() -> Iterator[None]:
    """Be connected to Ray inside the block; a connection that the caller had before stays. What Ray says goes to
    stderr, because stdout is for results."""
    if ray.is_initialized():
        yield
        return
    # "local" starts afresh, in spite of the address that a cluster which died may have left behind
    address = os.environ.get("RAY_ADDRESS", "local")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    own = {"resources": {TRIAL_RESOURCE: 1000}} if address == "local" else {}
    # A scheduler signals all processes of a job: those of a cluster of our own have to live until the state is saved.
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # they inherit it
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"Can't connect to Ray at {address} (RAY_ADDRESS): {error}") from None
    finally:
        _answer_sigterm_as(on_sigterm)  # Ray has put its own answer in place
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()
        _answer_sigterm_as(on_sigterm)


def _answer_sigterm_as(handler: Any) -> None:
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def capacity_of_cluster() -> Capacity:
    """Return what the cluster that RAY_ADDRESS names has."""
    with connected():
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    counts = tuple((int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in nodes)
    return Capacity(counts, f"the cluster at {os.environ.get('RAY_ADDRESS')}")
