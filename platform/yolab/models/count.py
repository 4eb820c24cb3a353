"""What a model costs: parameters and floating-point operations, counted on the meta device, without memory."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from yolab.models.blocks import ConvBlock, RepConv
from yolab.models.blueprint import Blueprint
from yolab.models.detector import Detector


@dataclass(frozen=True)
class Cost:
    """`params` of the trained graph, `params_fused` of the folded one; `gflops` = 2 × multiply-adds of the folded
    graph's convolutions / 1e9 on one square image."""

    params: int
    params_fused: int
    gflops: float


@functools.cache
def cost(blueprint: Blueprint, classes: int, image_size: int) -> Cost:
    """Count a model; image_size in pixels, a multiple of the largest stride.

    The folded graph is not built: it has those convolutions that run in eval mode, without the 1×1 of each RepConv,
    and with a bias each.
    """
    with torch.device("meta"):
        trained = Detector(blueprint, classes).eval()
    params = multiply_adds = 0

    def count(conv: nn.Module, _: object, output: Tensor) -> None:
        nonlocal params, multiply_adds
        assert isinstance(conv, nn.Conv2d)
        params += conv.weight.numel() + conv.out_channels
        multiply_adds += output.numel() * conv.weight[0].numel()

    total = parameters(trained)
    gone = {module.pointwise.conv for module in trained.modules() if isinstance(module, RepConv)}
    for module in trained.modules():
        if isinstance(module, ConvBlock):
            module.norm = nn.Identity()  # changes no shape, and takes most of the time
    for module in trained.modules():
        if isinstance(module, nn.Conv2d) and module not in gone:
            module.register_forward_hook(count)
    with torch.no_grad():
        trained(torch.empty(1, 3, image_size, image_size, device="meta"))
    return Cost(total, params, 2 * multiply_adds / 1e9)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
