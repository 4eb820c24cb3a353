"""The workers of one run, and what they do together. One worker needs none of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


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

    def joined(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model as it trains: with several workers gradients are averaged and batch norm is synchronised,
        in place, so that the given model stays the one with the weights."""
        if self.size == 1:
            return model
        _synchronise_batch_norm(model)
        devices = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=False)


class _Sum(torch.autograd.Function):
    """The sum over all workers; its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def _synchronise_batch_norm(model: nn.Module) -> None:
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedBatchNorm


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch norm over all workers' images, on any device (torch's own needs a GPU)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        values = x.to(self.weight.dtype)
        pixels = values.new_full((1,), values.numel() / values.shape[1])
        total, count = _Sum.apply(torch.cat([values.sum((0, 2, 3)), pixels])).split([self.num_features, 1])
        centred = values - (total / count)[:, None, None]
        # a second pass, because E[x²] − E[x]² loses the variance where the mean is large
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        self._remember((total / count).detach(), (variance * count / (count - 1)).detach())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)
