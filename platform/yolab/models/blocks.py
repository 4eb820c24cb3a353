"""The modules of the blocks that a blueprint names, shared by every family.

Sub-modules stand in the order in which published checkpoints number them, so that a checkpoint's tensors and a
model's correspond one to one in order. All feature maps are (images, channels, rows, columns).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from yolab.models import blueprint as spec

Activation = Callable[[], nn.Module]

ACTIVATIONS: dict[str, Activation] = {
    "silu": lambda: nn.SiLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.1, inplace=True),
}


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)


class ConvBlock(nn.Module):
    """Convolution, batch norm, activation. Once folded, `norm` is an identity."""

    def __init__(self, inputs: int, out: int, kernel: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, out, kernel, stride, padding=kernel // 2, bias=False)
        self.norm: nn.Module = batch_norm(out)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))


class RepConv(nn.Module):
    """Planned re-parameterized convolution (paper, section 4.1): trained as parallel branches, folded into one 3×3."""

    def __init__(self, inputs: int, out: int, identity: bool, activation: Activation) -> None:
        super().__init__()
        self.identity = batch_norm(inputs) if identity and inputs == out else None
        self.dense = ConvBlock(inputs, out, 3, 1, nn.Identity)
        self.pointwise = ConvBlock(inputs, out, 1, 1, nn.Identity)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        total = self.dense(x) + self.pointwise(x)
        if self.identity is not None:
            total = total + self.identity(x)
        return self.activation(total)


class Elan(nn.Module):
    def __init__(self, inputs: int, block: spec.Elan, activation: Activation) -> None:
        super().__init__()
        self.bypass = ConvBlock(inputs, block.hidden, 1, 1, activation)
        self.entry = ConvBlock(inputs, block.hidden, 1, 1, activation)
        widths = [block.hidden] + [block.chain_hidden] * block.chain
        self.chain = nn.ModuleList(ConvBlock(a, b, 3, 1, activation) for a, b in pairwise(widths))
        self.step = 1 if block.take == "all" else 2
        taken = len(range(block.chain, 0, -self.step))
        self.transition = ConvBlock(taken * block.chain_hidden + 2 * block.hidden, block.out, 1, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.entry(x)]
        for conv in self.chain:
            outputs.append(conv(outputs[-1]))
        newest_first = outputs[:0:-1][:: self.step]
        return self.transition(torch.cat([*newest_first, outputs[0], self.bypass(x)], 1))


class PoolConvDown(nn.Module):
    def __init__(self, inputs: int, branch: int, activation: Activation) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.pool_conv = ConvBlock(inputs, branch, 1, 1, activation)
        self.reduce = ConvBlock(inputs, branch, 1, 1, activation)
        self.down = ConvBlock(branch, branch, 3, 2, activation)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.down(self.reduce(x)), self.pool_conv(self.pool(x))], 1)


def _pyramid(x: Tensor) -> list[Tensor]:
    """Return max-pools of 5, 9 and 13 with stride 1, each as a 5 over the one before, which is the same and cheaper."""
    pools = []
    for _ in range(3):
        x = nn.functional.max_pool2d(x, 5, stride=1, padding=2)
        pools.append(x)
    return pools


class SppCspc(nn.Module):
    def __init__(self, inputs: int, out: int, activation: Activation) -> None:
        super().__init__()
        self.entry = ConvBlock(inputs, out, 1, 1, activation)
        self.bypass = ConvBlock(inputs, out, 1, 1, activation)
        self.before = nn.Sequential(ConvBlock(out, out, 3, 1, activation), ConvBlock(out, out, 1, 1, activation))
        self.after = nn.Sequential(ConvBlock(4 * out, out, 1, 1, activation), ConvBlock(out, out, 3, 1, activation))
        self.transition = ConvBlock(2 * out, out, 1, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        main = self.before(self.entry(x))
        main = self.after(torch.cat([main, *_pyramid(main)], 1))
        return self.transition(torch.cat([main, self.bypass(x)], 1))


class TinySpp(nn.Module):
    def __init__(self, inputs: int, out: int, activation: Activation) -> None:
        super().__init__()
        self.bypass = ConvBlock(inputs, out, 1, 1, activation)
        self.entry = ConvBlock(inputs, out, 1, 1, activation)
        self.after = ConvBlock(4 * out, out, 1, 1, activation)
        self.transition = ConvBlock(2 * out, out, 1, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        main = self.entry(x)
        main = self.after(torch.cat([*reversed(_pyramid(main)), main], 1))
        return self.transition(torch.cat([main, self.bypass(x)], 1))


class Concat(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, 1)


def build(block: spec.Block, inputs: Sequence[int], activation: Activation) -> tuple[nn.Module, int]:
    """Return the module of a block over inputs with these channels, and its own number of channels."""
    match block:
        case spec.Conv():
            return ConvBlock(inputs[0], block.out, block.kernel, block.stride, activation), block.out
        case spec.RepConv():
            return RepConv(inputs[0], block.out, block.identity, activation), block.out
        case spec.Elan():
            return Elan(inputs[0], block, activation), block.out
        case spec.PoolConvDown():
            return PoolConvDown(inputs[0], block.branch, activation), 2 * block.branch
        case spec.SppCspc():
            return SppCspc(inputs[0], block.out, activation), block.out
        case spec.TinySpp():
            return TinySpp(inputs[0], block.out, activation), block.out
        case spec.MaxPool():
            return nn.MaxPool2d(2), inputs[0]
        case spec.Upsample():
            return nn.Upsample(scale_factor=2, mode="nearest"), inputs[0]
        case spec.Concat():
            return Concat(), sum(inputs)
