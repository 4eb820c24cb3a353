"""What there is to work with."""

import os
import time
from collections.abc import Callable

import torch

from yolab.experiment import Compute
from yolab.preflight import Capacity
from yolab.training.precision import Precision

_PATIENCE_SECONDS, _LOOK_SECONDS = 300.0, 5.0


def of_this_machine() -> Capacity:
    """Return what this machine has, for a run in this process."""
    return Capacity(((os.cpu_count() or 1, torch.cuda.device_count()),))


def capacity() -> Capacity:
    """Return what the cluster has; without RAY_ADDRESS that is this machine, and nothing is started to learn it."""
    if not os.environ.get("RAY_ADDRESS"):
        return of_this_machine()
    from yolab.cluster.connect import capacity_of_cluster  # only then: importing Ray takes seconds

    return capacity_of_cluster()


def awaited_capacity(compute: Compute, note: Callable[[str], object]) -> Capacity:
    """As `capacity`, but wait until there is room for a run, up to five minutes: the nodes of a cluster that was begun
    again join one by one. `note` hears of it."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    there = capacity()
    if not there.at_once(compute):
        note(f"{there.where} has {there}, no room yet for {compute.workers.min} workers: it waits for more nodes.")
    while not there.at_once(compute) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        there = capacity()
    return there


def auto_precision(compute: Compute) -> str:
    """Return what precision `auto` stands for on the workers that the cluster gives. Raises UsageError if that depends
    on the node."""
    if not os.environ.get("RAY_ADDRESS"):
        return Precision.of("auto", torch.device("cuda" if compute.gpus_per_worker else "cpu")).name
    from yolab.cluster.nodes import auto_precision_of_cluster  # as above

    return auto_precision_of_cluster(compute)
