"""Reaching a Ray cluster: the one that RAY_ADDRESS names, else one of our own on this machine while it is needed."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from yolab.errors import UsageError
from yolab.interruption import stop_on_sigterm_as_on_ctrl_c
from yolab.preflight import Capacity

TRIAL_RESOURCE = "trial"  # what the driver of a nested run occupies, so that it takes no CPU from its workers


@contextmanager
def connected() -> Iterator[None]:
    """Be connected to Ray inside the block. What Ray says goes to stderr, because stdout is for results."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # a report waits for this poll
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # with it Tune prints its settings even when told to be quiet
    os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
    import ray

    # "local" starts afresh, in spite of the address that a cluster which died may have left behind
    address = os.environ.get("RAY_ADDRESS", "local")
    own = {"resources": {TRIAL_RESOURCE: 1000}} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"Can't connect to Ray at {address} (RAY_ADDRESS): {error}") from None
    stop_on_sigterm_as_on_ctrl_c()  # Ray has put its own answer in place
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()


def of_this_machine() -> Capacity:
    """Return what this machine has, for a run in this process."""
    import torch

    return Capacity(cpus=os.cpu_count() or 1, gpus=torch.cuda.device_count())


def capacity() -> Capacity:
    """Return what the cluster has; without RAY_ADDRESS that is this machine, and nothing is started to learn it."""
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return of_this_machine()
    with connected():
        import ray

        resources = ray.cluster_resources()
    return Capacity(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), f"the cluster at {address}")
