"""What there is to work with."""

import os

import torch

from yolab.preflight import Capacity


def of_this_machine() -> Capacity:
    """Return what this machine has, for a run in this process."""
    return Capacity(((os.cpu_count() or 1, torch.cuda.device_count()),))


def capacity() -> Capacity:
    """Return what the cluster has; without RAY_ADDRESS that is this machine, and nothing is started to learn it."""
    if not os.environ.get("RAY_ADDRESS"):
        return of_this_machine()
    from yolab.cluster.connect import capacity_of_cluster  # only then: importing Ray takes seconds

    return capacity_of_cluster()
