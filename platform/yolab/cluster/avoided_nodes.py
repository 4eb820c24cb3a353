"""Nodes on which a run goes badly, named and avoided when its workers start again."""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray._private.state import available_resources_per_node
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError
from ray.train.v2._internal.execution.callback import ControllerCallback, ReportCallback, WorkerGroupCallback

from yolab.cluster.connect import resources_of
from yolab.experiment import Compute
from yolab.preflight import Capacity
from yolab.storage import Storage

RANK, OWN_SECONDS = "rank", "own_seconds"  # of a step, without the wait for other workers, as each rank reports them
_FILE = "avoided.json"
_TIMES_SLOWER, _LOSSES = 3.0, 2
_LOST = (WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError)
_FREED_SECONDS = 5.0  # after its workers have ended, until Ray counts their room as free


class AvoidedNodes(ControllerCallback, WorkerGroupCallback, ReportCallback):
    """Ray Train's controller calls it. A node has lost workers of the run twice, or one there takes three times as long
    for a step as their median: `tell` hears of it, and workers start on others as long as these have room.

    It is kept by address in the run's place: a resumed run knows it, too, and a node that has left the cluster and come
    back is the same."""

    def __init__(self, place: Storage, compute: Compute, tell: Callable[[str], object]) -> None:
        self._place, self._compute, self._tell = place, compute, tell
        self._addresses: list[str] = []  # by rank
        kept = json.loads(place.read(_FILE)) if place.exists(_FILE) else {}
        self.losses: dict[str, int] = kept.get("losses", {})
        self.slow: dict[str, float] = kept.get("slow", {})

    @property
    def addresses(self) -> set[str]:
        """The addresses of nodes that are to be avoided."""
        return {address for address, count in self.losses.items() if count >= _LOSSES} | set(self.slow)

    def after_worker_group_start(self, worker_group: Any) -> None:
        workers = sorted(worker_group.get_workers(), key=lambda worker: worker.distributed_context.world_rank)
        self._addresses = [worker.metadata.node_ip for worker in workers]

    def after_worker_group_poll_status(self, worker_group_status: Any) -> None:
        lost = {self._addresses[rank] for rank, why in worker_group_status.errors.items() if isinstance(why, _LOST)}
        for address in lost:
            self.losses[address] = self.losses.get(address, 0) + 1
            if self.losses[address] == _LOSSES:
                self._tell(
                    f"The node {address} has lost workers of this run {_LOSSES} times: it is avoided from now on."
                )
        if lost:
            self._keep()

    def after_report(self, training_report: Any, metrics: list[dict[str, Any]]) -> None:
        for rank, times in slow_ranks({each[RANK]: each.get(OWN_SECONDS) for each in metrics if RANK in each}).items():
            address = self._addresses[rank]
            if address not in self.slow:
                self.slow[address] = round(times, 1)
                self._keep()
                self._tell(
                    f"The worker of rank {rank}, on the node {address}, takes {times:.1f} times as long for a step as "
                    "the median of all: the node is avoided when workers start again."
                )

    def on_controller_start_worker_group(self, *, scaling_config: Any, num_workers: int) -> dict[str, str] | None:
        bad = self.addresses
        avoided = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeManagerAddress"] in bad]
        if not avoided or not self._have_room(avoided, num_workers):
            return None
        return {"ray.io/node-id": f"!in({','.join(avoided)})"}

    def _have_room(self, avoided: Sequence[str], workers: int) -> bool:
        deadline = time.monotonic() + _FREED_SECONDS
        while True:
            free = {id_: found for id_, found in available_resources_per_node().items() if id_ not in avoided}
            room = Capacity(tuple(resources_of({"Resources": found}) for found in free.values()))
            if room.workers(self._compute) >= workers or time.monotonic() > deadline:
                return room.workers(self._compute) >= workers
            time.sleep(0.5)

    def _keep(self) -> None:
        self._place.write(_FILE, json.dumps({"losses": self.losses, "slow": self.slow}).encode())


def slow_ranks(seconds: Mapping[int, float | None]) -> dict[int, float]:
    """Return which of a run's ranks take three times as long for a step as the median of all, or more, and how many
    times as long; nobody if not all have told."""
    told = [each for each in seconds.values() if each]
    if len(told) < len(seconds) or len(told) < 2:
        return {}
    median = statistics.median_low(told)  # of two, the quicker one
    return {rank: each / median for rank, each in seconds.items() if each and each >= _TIMES_SLOWER * median}
