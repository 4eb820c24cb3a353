"""Reaching a Ray cluster: the one that RAY_ADDRESS names, else one of our own on this machine while it is needed."""

import contextlib
import gc
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.state import state

from yolab.errors import UsageError
from yolab.memory import without_garbage_collection
from yolab.preflight import Capacity
from yolab.signals import STOP_SIGNALS, answered_as_before, held_back

_MANY = 1000  # nodes, where a cluster may grow without a limit
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
        # Ray puts its own answers in place
        with held_back(STOP_SIGNALS), answered_as_before(STOP_SIGNALS):
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"Can't connect to Ray at {address} (RAY_ADDRESS): {error}") from None
    with contextlib.redirect_stdout(sys.stderr):  # to the end of the shutdown, which has things to say, too
        try:
            yield
        finally:
            gc.collect()  # what refers to Ray: another thread that came upon it in the shutdown would end the process
            with without_garbage_collection(), answered_as_before(STOP_SIGNALS):
                ray.shutdown()


def capacity_of_cluster() -> Capacity:
    """Return what the cluster that RAY_ADDRESS names has, or can have: with the nodes that its autoscaler may add."""
    with connected():
        there = Counter(resources_of(node) for node in ray.nodes() if node["Alive"])
        nodes = there | declared(state.get_cluster_config())
    return Capacity(tuple(sorted(nodes.elements())), f"the cluster at {os.environ.get('RAY_ADDRESS')}")


def declared(config: Any) -> Counter[tuple[int, int]]:
    """Return how many nodes of each kind, its CPU cores and GPUs, the configuration of an autoscaling cluster declares;
    None: the cluster doesn't scale."""
    found = Counter[tuple[int, int]]()
    for group in config.node_group_configs if config else ():
        count = _MANY if group.max_count < 0 else group.max_count
        found[resources_of({"Resources": group.resources})] += count
    return found


def resources_of(node: dict[str, Any]) -> tuple[int, int]:
    """Return the CPU cores and GPUs of one of `ray.nodes()`."""
    cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
    return cpus, gpus
