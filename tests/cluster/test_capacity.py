"""What there is to work with."""

import os

from yolab.cluster.capacity import capacity, of_this_machine


def test_without_a_cluster_it_is_this_machine_and_nothing_is_started(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert capacity() == of_this_machine()
    assert capacity().cpus == os.cpu_count()
