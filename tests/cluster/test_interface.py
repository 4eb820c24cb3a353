"""The interface that gloo is told to take."""

import socket
from types import SimpleNamespace

import psutil
import pytest

from yolab.cluster.interface import interface_of


def card(family: int, address: str) -> SimpleNamespace:
    return SimpleNamespace(family=family, address=address)


@pytest.mark.parametrize(
    ("address", "name"),
    [("10.0.0.7", "ens5"), ("fd00::7", "ens5"), ("172.17.0.1", "docker0"), ("127.0.0.1", "lo"), ("203.0.113.9", None)],
)
def test_it_is_the_one_with_the_nodes_address_in_the_cluster(address, name, monkeypatch):
    cards = {
        "lo": [card(socket.AF_INET, "127.0.0.1")],
        "docker0": [card(socket.AF_INET, "172.17.0.1")],
        "ens5": [card(psutil.AF_LINK, "02:42"), card(socket.AF_INET, "10.0.0.7"), card(socket.AF_INET6, "fd00::7")],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: cards)
    assert interface_of(address) == name
