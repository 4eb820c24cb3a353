"""Which nodes a run avoids, and when. Workers that are killed on a real one are in tests/acceptance/test_faults.py."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from yolab.cluster import avoided_nodes
from yolab.cluster.avoided_nodes import OWN_SECONDS, RANK, AvoidedNodes, slow_ranks
from yolab.experiment import Compute
from yolab.storage import Folder

LOST = WorkerHealthCheckFailedError("gone", RuntimeError("killed"))
OTHERS = RuntimeError("Connection closed by peer")  # what is left behind of a worker that was lost


@pytest.mark.parametrize(
    ("seconds", "slow"),
    [
        ([], {}),
        ([1.0], {}),
        ([1.0, 2.9], {}),
        ([1.0, 3.0], {1: 3.0}),
        ([1.0, 1.0, 4.0, 1.2], {2: 4.0}),
        ([4.0, 4.0, 1.0], {}),  # most are as slow
        ([1.0, None, 9.0], {}),
        ([1.0, 1.0, 1.0, 5.0, 5.0], {3: 5.0, 4: 5.0}),
    ],
)
def test_slow_is_three_times_the_median_of_all(seconds: list[float | None], slow: dict[int, float]) -> None:
    assert slow_ranks(dict(enumerate(seconds))) == slow


class Run:
    """A run of three workers on the nodes a, b and c of four."""

    def __init__(self, folder: Path, compute: Compute) -> None:
        self.said: list[str] = []
        self.avoided = AvoidedNodes(Folder(folder), compute, self.said.append)
        self.start("a", "b", "c")

    def start(self, *addresses: str) -> None:
        workers = [
            SimpleNamespace(
                distributed_context=SimpleNamespace(world_rank=rank), metadata=SimpleNamespace(node_ip=address)
            )
            for rank, address in enumerate(addresses)
        ]
        self.avoided.after_worker_group_start(SimpleNamespace(get_workers=lambda: workers[::-1]))

    def lose(self, **errors: Exception) -> None:
        told = {int(rank.removeprefix("rank")): error for rank, error in errors.items()}
        self.avoided.after_worker_group_poll_status(SimpleNamespace(errors=told))

    def selector(self, workers: int = 3) -> Any:
        return self.avoided.on_controller_start_worker_group(scaling_config=None, num_workers=workers)


@pytest.fixture
def compute(monkeypatch: pytest.MonkeyPatch) -> Compute:
    nodes = [{"NodeID": f"id-{each}", "NodeManagerAddress": each, "Alive": each != "e"} for each in "abcde"]
    monkeypatch.setattr(avoided_nodes.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(
        avoided_nodes, "available_resources_per_node", lambda: {f"id-{each}": {"CPU": 1.0} for each in "abcd"}
    )
    monkeypatch.setattr(avoided_nodes, "_FREED_SECONDS", 0.0)
    return Compute(workers=3)


def test_a_node_that_has_lost_workers_twice_is_named_and_avoided_and_stays_so(tmp_path: Path, compute: Compute) -> None:
    run = Run(tmp_path, compute)
    run.lose(rank1=LOST, rank0=OTHERS, rank2=OTHERS)
    assert (run.said, run.selector()) == ([], None)
    run.lose(rank1=LOST)
    assert len(run.said) == 1
    assert "The node b has lost workers of this run 2 times" in run.said[0]
    assert run.selector() == {"ray.io/node-id": "!in(id-b)"}
    assert Run(tmp_path, compute).selector() == {"ray.io/node-id": "!in(id-b)"}  # resumed


def test_two_workers_that_are_lost_at_once_are_one_loss_of_their_node(tmp_path: Path, compute: Compute) -> None:
    run = Run(tmp_path, compute)
    run.start("a", "a", "c")
    run.lose(rank0=LOST, rank1=LOST)
    assert run.avoided.addresses == set()


def test_a_slow_node_is_named_once_and_avoided(tmp_path: Path, compute: Compute) -> None:
    run, seconds = Run(tmp_path, compute), (1.0, 1.1, 4.0)
    for _ in range(2):
        run.avoided.after_report(None, [{RANK: rank, OWN_SECONDS: seconds[rank]} for rank in (2, 0, 1)])
    assert len(run.said) == 1
    assert "on the node c, takes 3.6 times as long" in run.said[0]
    assert run.selector() == {"ray.io/node-id": "!in(id-c)"}


def test_where_the_others_have_no_room_nobody_is_avoided(tmp_path: Path, compute: Compute) -> None:
    run = Run(tmp_path, compute)
    for rank in ("rank0", "rank1"):
        run.lose(**{rank: LOST})
        run.lose(**{rank: LOST})
    assert run.avoided.addresses == {"a", "b"}
    assert run.selector(3) is None
    assert run.selector(2) == {"ray.io/node-id": "!in(id-a,id-b)"}


def test_a_node_that_has_left_the_cluster_is_no_matter(tmp_path: Path, compute: Compute) -> None:
    run = Run(tmp_path, compute)
    run.start("a", "b", "e")
    for _ in range(2):
        run.lose(rank2=LOST)
    assert run.selector() is None
