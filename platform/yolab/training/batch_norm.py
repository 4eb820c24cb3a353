"""Batch norm over all workers' images, for several workers whose own are too few."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def synchronise(model: nn.Module) -> nn.Module:
    """Return the model with statistics over all workers' images: torch's own modules on a GPU, these elsewhere, where
    it has none."""
    if next(model.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedBatchNorm
    return model


def own_norms(model: nn.Module) -> list[nn.Module]:
    """Return the batch norms that are trained and whose statistics are those of the images they see here."""
    everyones = (SynchronisedBatchNorm, nn.SyncBatchNorm)
    norms = (module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return [norm for norm in norms if norm.training and not isinstance(norm, everyones)]


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch norm over all workers' images, with one exchange in each direction."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        mean, variance, pixels = _statistics(x.detach(), self.weight.dtype)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance * (pixels / (pixels - 1)), self.momentum or 0.0)
            self.num_batches_tracked.add_(1)
        return _Normalised.apply(x, self.weight, self.bias, mean, variance, pixels, self.eps)


def _statistics(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance (channels,) of all workers' values and how many there are of a channel, (1,).

    Put together from each worker's own mean and variance, because E[x²] − E[x]² loses the variance where the mean is
    large (Chan, Golub and LeVeque 1979).
    """
    channels, own = x.shape[1], x.numel() // x.shape[1]
    mean, variance = torch.zeros(2, channels, device=x.device, dtype=dtype)
    torch.ops.aten.batch_norm_update_stats(x, mean, variance, 1.0)  # all new: its own, the variance over own - 1
    counted = mean.new_full((1,), own)
    told = torch.cat([mean, variance * ((own - 1) / own), counted])
    heard = told.new_empty(dist.get_world_size() * len(told))
    dist.all_gather_single(heard, told)
    means, variances, counts = heard.view(-1, len(told)).split([channels, channels, 1], 1)
    pixels = counts.sum(0)
    shares = counts / pixels
    mean = (means * shares).sum(0)
    return mean, ((variances + (means - mean).square()) * shares).sum(0), pixels


class _Normalised(torch.autograd.Function):
    """(x − mean) / √(variance + eps) · weight + bias, where mean and variance come from all workers' x."""

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        pixels: Tensor,
        eps: float,
    ) -> Tensor:
        context.save_for_backward(x, weight, mean, variance, pixels)
        context.eps = eps
        return nn.functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, pixels = context.saved_tensors
        # as if mean and variance were constants; then what each x does to them
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, context.eps, [True, True, True]
        )
        sums = torch.cat([of_weight, of_bias])
        dist.all_reduce(sums)
        slope, level = (sums / pixels).chunk(2)
        deviation = torch.rsqrt(variance + context.eps)
        along_x = -weight * deviation.square() * slope
        everywhere = -weight * deviation * level - along_x * mean
        shape = (1, -1, 1, 1)
        of_x = torch.addcmul(direct, x, along_x.to(x.dtype).view(shape)).add_(everywhere.to(x.dtype).view(shape))
        return of_x, of_weight, of_bias, None, None, None, None
