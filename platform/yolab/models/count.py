"""What a model costs: parameters and floating-point operations, counted on the meta device, without memory."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from yolab.models.blueprint import Blueprint
from yolab.models.detector import Detector
from yolab.models.fold import fold_in_place
from yolab.models.spec import DetectorSpec


@dataclass(frozen=True)
class Cost:
    """`params` of the trained graph, `params_fused` of the folded one; `gflops` = 2 × multiply-adds of the folded
    graph's convolutions / 1e9 on one square image."""

    params: int
    params_fused: int
    gflops: float

    def as_dict(self) -> dict[str, float]:
        """Return the counts by the names that runs, trials and constraints know them by."""
        return {"params": self.params, "params_fused": self.params_fused, "gflops": round(self.gflops, 3)}


def counts_of(spec: DetectorSpec) -> dict[str, float]:
    """Return what a detector costs at its image size, as `Cost.as_dict`."""
    return cost(spec.blueprint(), len(spec.names), spec.image_size).as_dict()


@functools.cache
def cost(blueprint: Blueprint, classes: int, image_size: int) -> Cost:
    """Count a model; image_size in pixels, a multiple of the largest stride."""
    with torch.device("meta"):
        model = Detector(blueprint, classes)
    params = parameters(model)
    fold_in_place(model)
    multiply_adds = 0

    def count(conv: nn.Module, _: object, output: Tensor) -> None:
        nonlocal multiply_adds
        assert isinstance(conv, nn.Conv2d)
        multiply_adds += output.numel() * conv.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.empty(1, 3, image_size, image_size, device="meta"))
    return Cost(params, parameters(model), 2 * multiply_adds / 1e9)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
