"""Reaching a Ray cluster: the one that RAY_ADDRESS names, else one of our own on this machine while it is needed."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from yolab.errors import UsageError
from yolab.interruption import sigterm_as_ctrl_c
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
    own = {"resources": {TRIAL_RESOURCE: 1000}} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"Can't connect to Ray at {address} (RAY_ADDRESS): {error}") from None
    try:
        with sigterm_as_ctrl_c(), contextlib.redirect_stdout(sys.stderr):  # Ray has put its own answer in place
            yield
    finally:
        ray.shutdown()


def capacity_of_cluster() -> Capacity:
    """Return what the cluster that RAY_ADDRESS names has."""
    with connected():
        resources = ray.cluster_resources()
    where = f"the cluster at {os.environ.get('RAY_ADDRESS')}"
    return Capacity(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), where)
