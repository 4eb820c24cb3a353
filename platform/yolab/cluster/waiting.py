"""What work waits for that has not begun, said while it waits."""

import time
from collections.abc import Callable

import ray
from ray._private.state import available_resources_per_node

from yolab.cluster.connect import resources_of
from yolab.experiment import Compute
from yolab.preflight import Capacity

_PATIENCE_SECONDS = 20.0  # a cluster that has room begins within this
_AGAIN_SECONDS = 300.0


class Waiting:
    """Tells what is lacking for one more run, while nothing `has_begun` for so long that the cluster can have no room
    for it. `look` is to be called about once a second, by who is connected to Ray."""

    def __init__(self, compute: Compute, has_begun: Callable[[], bool], tell: Callable[[str], None]) -> None:
        self._compute, self._has_begun, self._tell = compute, has_begun, tell
        self._next = time.monotonic() + _PATIENCE_SECONDS

    def look(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PATIENCE_SECONDS
        told = None if self._has_begun() else lacking(self._compute)
        if told:
            self._tell(told)
            self._next += _AGAIN_SECONDS


def lacking(compute: Compute) -> str | None:
    """Return in words what is lacking for one more run at this moment, None if there is room for it."""
    free = available_resources_per_node()
    nodes = [{"Resources": free.get(node["NodeID"], {})} for node in ray.nodes() if node["Alive"]]
    room = Capacity(tuple(map(resources_of, nodes)))
    if room.at_once(compute):
        return None
    return (
        f"Waiting for room for {compute.workers.min} workers of {compute.cpus_per_worker} CPUs and "
        f"{compute.gpus_per_worker} GPUs: {room} are free, at most {room.most_on_one_node(compute)}. Others use the "
        "rest, or nodes have yet to come: `ray status` shows both."
    )
