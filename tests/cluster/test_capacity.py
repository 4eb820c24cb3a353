"""What there is to work with."""

import os

import pytest

from yolab.cluster.capacity import capacity, of_this_machine
from yolab.experiment import Compute
from yolab.preflight import Capacity


def test_without_a_cluster_it_is_this_machine_and_nothing_is_started(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert capacity() == of_this_machine()
    assert capacity().nodes[0][0] == os.cpu_count()


@pytest.mark.parametrize(
    ("nodes", "workers", "cpus", "gpus", "at_once"),
    [
        ([(4, 0)], 1, 2, 0, 2),
        ([(3, 0), (3, 0)], 1, 4, 0, 0),  # six cores, but no node with four
        ([(3, 0), (3, 0)], 2, 2, 0, 1),
        ([(8, 1), (8, 0)], 1, 2, 1, 1),
        ([(16, 8), (16, 8)], 4, 4, 1, 2),  # eight workers by their cores
    ],
)
def test_a_worker_has_to_be_on_one_node(nodes, workers, cpus, gpus, at_once):
    compute = Compute(workers=workers, cpus_per_worker=cpus, gpus_per_worker=gpus)
    assert Capacity(tuple(nodes)).at_once(compute) == at_once
