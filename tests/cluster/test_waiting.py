"""What is said of work that waits for room."""

from types import SimpleNamespace

import pytest
from ray.core.generated import autoscaler_pb2

from tests import tiny_set
from yolab import preflight
from yolab.cluster import waiting
from yolab.cluster.connect import declared
from yolab.cluster.waiting import Waiting
from yolab.errors import UsageError
from yolab.experiment import Compute, build
from yolab.preflight import Capacity

NODES = [{"NodeID": "a", "Alive": True}, {"NodeID": "b", "Alive": True}, {"NodeID": "gone", "Alive": False}]
ROOM = "Waiting for room for 2 workers of 2 CPUs and 0 GPUs: 4 CPUs, 0 GPUs on 2 nodes are free, at most 3 CPUs and 0"


@pytest.mark.parametrize(
    ("free", "told"),
    [
        ({"a": {"CPU": 4.0}, "b": {"CPU": 4.0}}, None),
        ({"a": {"CPU": 3.0}, "b": {"CPU": 1.0}}, ROOM),  # four, but for one worker on one node
        ({}, "0 CPUs, 0 GPUs on 2 nodes are free"),
    ],
)
def test_it_is_said_what_is_lacking_on_the_nodes(free, told, monkeypatch):
    monkeypatch.setattr(waiting.ray, "nodes", lambda: NODES)
    monkeypatch.setattr(waiting, "available_resources_per_node", lambda: free)
    found = waiting.lacking(Compute(workers=2, cpus_per_worker=2))
    assert found is None if told is None else told in found


def test_it_is_said_after_a_while_and_not_again_and_again(monkeypatch):
    clock, said = SimpleNamespace(now=0.0), list[str]()
    monkeypatch.setattr(waiting.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(waiting, "lacking", lambda compute: "no room")
    begun = list[bool]()
    watch = Waiting(Compute(), lambda: bool(begun), said.append)
    for clock.now in range(100):
        watch.look()
    assert said == ["no room"]
    begun.append(True)
    for clock.now in range(100, 1000):
        watch.look()
    assert said == ["no room"]


def group(count: int, **resources: int) -> autoscaler_pb2.NodeGroupConfig:
    return autoscaler_pb2.NodeGroupConfig(max_count=count, resources=resources)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], {}),
        ([group(2, CPU=8), group(3, CPU=8), group(4, CPU=16, GPU=8)], {(8, 0): 5, (16, 8): 4}),
        ([group(-1, CPU=4)], {(4, 0): 1000}),
        ([group(0, CPU=4)], {}),
    ],
)
def test_what_an_autoscaler_may_add_counts_as_room(groups, expected):
    assert +declared(autoscaler_pb2.ClusterConfig(node_group_configs=groups)) == expected
    assert declared(None) == {}


def test_a_hundred_nodes_are_reckoned_by_node():
    """By the table of an imagined cluster: 60 nodes of 8 GPUs, 30 of one, 10 for drivers alone."""
    cluster = Capacity((*[(96, 8)] * 60, *[(16, 1)] * 30, *[(8, 0)] * 10))
    whole = Compute(workers=64, cpus_per_worker=12, gpus_per_worker=1)
    assert (cluster.workers(whole), cluster.at_once(whole)) == (60 * 8 + 30, 7)
    hungry = Compute(workers=2, cpus_per_worker=24, gpus_per_worker=1)  # the cores of a node seat four
    assert (cluster.workers(hungry), cluster.at_once(hungry)) == (60 * 4, 120)
    large = Compute(workers=1, cpus_per_worker=100)
    assert cluster.at_once(large) == 0
    assert cluster.most_on_one_node(large) == "96 CPUs and 8 GPUs on one node"
    assert cluster.most_on_one_node(Compute(gpus_per_worker=1)) == "96 CPUs and 8 GPUs on one node"


def test_a_worker_that_no_node_can_hold_is_refused_with_what_would_fit(small_set):
    asked = tiny_set.experiment(small_set, compute__workers=2, compute__cpus_per_worker=6)
    with pytest.raises(
        UsageError, match=r"8 CPUs, 0 GPUs on 2 nodes, at most 4 CPUs and 0 GPUs on one node, room for 0"
    ):
        preflight.check(build({}, asked, "test"), Capacity(((4, 0), (4, 0)), "the cluster"))
