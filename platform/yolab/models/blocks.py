"""The modules of the blocks that a blueprint names, shared by every family.

Sub-modules stand in the order in which published checkpoints number them, so that a checkpoint's tensors and a
model's correspond one to one in order. All feature maps are (images, channels, rows, columns).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from yolab.errors import UsageError
from yolab.models import blueprint as spec

Activation = Callable[[], nn.Module]

ACTIVATIONS: dict[str, Activation] = {
    "silu": lambda: nn.SiLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.1, inplace=True),
}


@runtime_checkable
class SelfFolding(Protocol):
    """A module that says itself what equals it in the deploy graph. One that is made of ConvBlock and RepConv need not:
    those are folded inside it."""

    def folded(self) -> nn.Module:
        """Return a module that equals this one in eval mode, without batch norm and parallel branches."""


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)


class ConvBlock(nn.Module):
    """Convolution, batch norm, activation. Once folded, `norm` is an identity."""

    def __init__(
        self, inputs: int, out: int, kernel: int, stride: int, activation: Activation, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, out, kernel, stride, padding=(kernel - 1) // 2, groups=groups, bias=False)
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
        self.chain = nn.ModuleList(
            RepConv(a, b, position in block.rep_conv, activation)
            if position in (*block.rep_conv, *block.rep_conv_n)
            else ConvBlock(a, b, 3, 1, activation)
            for position, (a, b) in enumerate(pairwise(widths), start=1)
        )
        self.taken = block.taken
        collected = len(self.taken) * block.chain_hidden + 2 * block.hidden
        self.transition = ConvBlock(collected, block.out, 1, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.entry(x)]
        for conv in self.chain:
            outputs.append(conv(outputs[-1]))
        newest_first = [outputs[position] for position in self.taken]
        return self.transition(torch.cat([*newest_first, outputs[0], self.bypass(x)], 1))


class Residual(nn.Module):
    def __init__(self, inputs: int, out: int, unit: spec.Residual, activation: Activation) -> None:
        super().__init__()
        inner = int(out * unit.expansion)

        def dense(a: int, b: int) -> nn.Module:
            if unit.rep:
                return RepConv(a, b, True, activation)
            return ConvBlock(a, b, 3, 1, activation, groups=math.gcd(unit.groups, a, b))

        def pointwise(a: int, b: int) -> nn.Module:
            return ConvBlock(a, b, 1, 1, activation)

        match unit.shape:
            case "dark":
                self.path = nn.Sequential(pointwise(inputs, inner), dense(inner, out))
            case "reversed dark":
                self.path = nn.Sequential(dense(inputs, inner), pointwise(inner, out))
            case "res":
                self.path = nn.Sequential(pointwise(inputs, inner), dense(inner, inner), pointwise(inner, out))
        self.shortcut = unit.shortcut and inputs == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(x) if self.shortcut else self.path(x)


def residual_chain(inputs: int, out: int, repeat: int, unit: spec.Residual, activation: Activation) -> nn.Sequential:
    widths = [inputs] + [out] * repeat
    return nn.Sequential(*(Residual(a, b, unit, activation) for a, b in pairwise(widths)))


class Csp(nn.Module):
    def __init__(self, inputs: int, block: spec.Csp, activation: Activation) -> None:
        super().__init__()
        hidden = block.out if block.form == "B" else block.out // 2
        self.shared = block.form == "B"
        self.entry = ConvBlock(inputs, hidden, 1, 1, activation)
        self.bypass = ConvBlock(hidden if self.shared else inputs, hidden, 1, 1, activation)
        self.after = ConvBlock(hidden, hidden, 1, 1, activation) if block.form == "C" else nn.Identity()
        self.transition = ConvBlock(2 * hidden, block.out, 1, 1, activation)
        self.units = residual_chain(hidden, hidden, block.repeat, block.unit, activation)

    def forward(self, x: Tensor) -> Tensor:
        entered = self.entry(x)
        bypass = self.bypass(entered if self.shared else x)
        return self.transition(torch.cat([self.after(self.units(entered)), bypass], 1))


class HalfOsa(nn.Module):
    def __init__(self, inputs: int, out: int, activation: Activation) -> None:
        super().__init__()
        half = out // 2
        self.first = ConvBlock(inputs - inputs // 2, half, 3, 1, activation)
        self.second = ConvBlock(half, half, 3, 1, activation)
        self.transition = ConvBlock(2 * half, out, 1, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x[:, x.shape[1] // 2 :])
        return self.transition(torch.cat([self.second(first), first], 1))


class Stem(nn.Module):
    def __init__(self, inputs: int, out: int, activation: Activation) -> None:
        super().__init__()
        half = out // 2
        self.entry = ConvBlock(inputs, half, 3, 2, activation)
        self.reduce = ConvBlock(half, half, 1, 1, activation)
        self.down = ConvBlock(half, half, 3, 2, activation)
        self.pool = nn.MaxPool2d(2)
        self.transition = ConvBlock(2 * half, out, 1, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        return self.transition(torch.cat([self.down(self.reduce(x)), self.pool(x)], 1))


class PoolConvDown(nn.Module):
    def __init__(self, inputs: int, branch: int, activation: Activation) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.pool_conv = ConvBlock(inputs, branch, 1, 1, activation)
        self.reduce = ConvBlock(inputs, branch, 1, 1, activation)
        self.down = ConvBlock(branch, branch, 3, 2, activation)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.down(self.reduce(x)), self.pool_conv(self.pool(x))], 1)


class DownC(nn.Module):
    def __init__(self, inputs: int, out: int, activation: Activation) -> None:
        super().__init__()
        self.reduce = ConvBlock(inputs, inputs, 1, 1, activation)
        self.down = ConvBlock(inputs, out // 2, 3, 2, activation)
        self.pool_conv = ConvBlock(inputs, out - out // 2, 1, 1, activation)
        self.pool = nn.MaxPool2d(2)

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


class Spp(nn.Module):
    def __init__(self, inputs: int, out: int, activation: Activation) -> None:
        super().__init__()
        half = inputs // 2
        self.entry = ConvBlock(inputs, half, 1, 1, activation)
        self.transition = ConvBlock(4 * half, out, 1, 1, activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        return self.transition(torch.cat([x, *_pyramid(x)], 1))


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


class SpaceToDepth(nn.Module):
    """The four pixels of each 2×2 block in the order (row, column) 0 0, 1 0, 0 1, 1 1, not pixel-unshuffle's."""

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return torch.cat(corners, 1)


class Concat(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, 1)


class Add(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        total, *others = inputs
        for other in others:
            total = total + other
        return total


class Built(NamedTuple):
    """The module of a block, its own number of channels, and by what it divides rows and columns."""

    module: nn.Module
    channels: int
    reduction: float = 1


Builder = Callable[[Any, Sequence[int], Activation], Built]  # of a block over inputs with these channels

BLOCKS: dict[type[spec.Block], Builder] = {
    spec.Conv: lambda block, inputs, activation: Built(
        ConvBlock(inputs[0], block.out, block.kernel, block.stride, activation), block.out, block.stride
    ),
    spec.RepConv: lambda block, inputs, activation: Built(
        RepConv(inputs[0], block.out, block.identity, activation), block.out
    ),
    spec.Elan: lambda block, inputs, activation: Built(Elan(inputs[0], block, activation), block.out),
    spec.ResidualChain: lambda block, inputs, activation: Built(
        residual_chain(inputs[0], block.out, block.repeat, block.unit, activation), block.out
    ),
    spec.Csp: lambda block, inputs, activation: Built(Csp(inputs[0], block, activation), block.out),
    spec.HalfOsa: lambda block, inputs, activation: Built(HalfOsa(inputs[0], block.out, activation), block.out),
    spec.Stem: lambda block, inputs, activation: Built(Stem(inputs[0], block.out, activation), block.out, 4),
    spec.PoolConvDown: lambda block, inputs, activation: Built(
        PoolConvDown(inputs[0], block.branch, activation), 2 * block.branch, 2
    ),
    spec.DownC: lambda block, inputs, activation: Built(DownC(inputs[0], block.out, activation), block.out, 2),
    spec.SppCspc: lambda block, inputs, activation: Built(SppCspc(inputs[0], block.out, activation), block.out),
    spec.Spp: lambda block, inputs, activation: Built(Spp(inputs[0], block.out, activation), block.out),
    spec.TinySpp: lambda block, inputs, activation: Built(TinySpp(inputs[0], block.out, activation), block.out),
    spec.SpaceToDepth: lambda block, inputs, activation: Built(SpaceToDepth(), 4 * inputs[0], 2),
    spec.MaxPool: lambda block, inputs, activation: Built(nn.MaxPool2d(2), inputs[0], 2),
    spec.Upsample: lambda block, inputs, activation: Built(nn.Upsample(scale_factor=2, mode="nearest"), inputs[0], 0.5),
    spec.Concat: lambda block, inputs, activation: Built(Concat(), sum(inputs)),
    spec.Add: lambda block, inputs, activation: Built(Add(), inputs[0]),
}


def build(block: spec.Block, inputs: Sequence[int], activation: Activation) -> Built:
    """Return what a block is over inputs with these channels. Raises UsageError for one that has no row."""
    kind = type(block)
    if kind not in BLOCKS:
        raise UsageError(f"Nothing builds the block {kind.__name__}: add a row to yolab.models.blocks.BLOCKS.")
    return BLOCKS[kind](block, inputs, activation)


def help_of(kind: type[spec.Block]) -> str:
    """Return the help of a kind of block, in one line."""
    return " ".join((kind.__doc__ or "").split())
