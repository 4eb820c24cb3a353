"""What a model costs: parameters and floating-point operations, counted on the meta device, without memory."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from yolab.models.blueprint import Blueprint
from yolab.models.detector import Detector
from yolab.models.fold import fold


@dataclass(frozen=True)
class Cost:
    """`params` of the trained graph, `params_fused` of the folded one; `gflops` = 2 × multiply-adds of the folded
    graph's convolutions / 1e9 on one square image."""

    params: int
    params_fused: int
    gflops: float


def cost(blueprint: Blueprint, classes: int, image_size: int) -> Cost:
    """Count a model; image_size in pixels, a multiple of the largest stride."""
    with torch.device("meta"):
        trained = Detector(blueprint, classes)
        folded = fold(trained)
        image = torch.empty(1, 3, image_size, image_size)
    return Cost(parameters(trained), parameters(folded), _multiply_adds(folded, image) * 2 / 1e9)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _multiply_adds(model: nn.Module, image: Tensor) -> int:
    total = 0

    def add(conv: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(conv, nn.Conv2d)
        total += output.numel() * conv.weight[0].numel()

    hooks = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d)]
    model(image)
    for hook in hooks:
        hook.remove()
    return total
