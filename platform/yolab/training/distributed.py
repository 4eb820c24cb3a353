"""The workers of one run, and what they do together. One worker needs none of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Workers:
    """This process is number `rank` of `size`; with more than one, torch's default process group joins them."""

    rank: int = 0
    size: int = 1

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of every worker's values, without gradient."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, own: list[Any]) -> list[Any]:
        """Return every worker's items, one worker's after the other's."""
        if self.size == 1:
            return own
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, own)
        return [item for part in parts for item in part]

    def agree(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return rank 0's metrics on every worker."""
        if self.size == 1:
            return dict(metrics)
        box = [dict(metrics)]
        dist.broadcast_object_list(box)
        return box[0]

    def alike(self, model: nn.Module) -> None:
        """Give every worker the weights that rank 0 has: chance may differ in its last bits on another processor."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)
