"""The network interface by which the workers of a run reach each other."""

import os
from typing import Any

import psutil
import ray
from ray.train.torch.config import TorchConfig, _TorchBackend

_GLOO = "GLOO_SOCKET_IFNAME"


class TorchOverNodeAddresses(TorchConfig):
    """Ray's way to join the workers, over the addresses by which their nodes are in the cluster. gloo alone would take
    what the host's name means, which is 127.0.1.1 on a Debian that nobody has changed."""

    @property
    def backend_cls(self) -> type["_Backend"]:
        return _Backend


class _Backend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(_name_interface)
        super().on_start(worker_group, backend_config)


def _name_interface() -> None:
    found = interface_of(ray.util.get_node_ip_address())
    if found:
        os.environ.setdefault(_GLOO, found)


def interface_of(address: str) -> str | None:
    """Return the name of this machine's interface with an address, None if it has none, as behind a NAT."""
    named = psutil.net_if_addrs().items()
    return next((name for name, own in named if address in (each.address for each in own)), None)
