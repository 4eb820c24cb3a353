"""A model as data: named nodes with the block each one is, and compound scaling as an operation on them.

Blocks say in their fields what each number is (`scaled_by`), so scaling never knows a family.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

from yolab.errors import UsageError
from yolab.experiment import Scale

_UNITS = {"width": 8, "hidden": 8, "depth": 2}  # widths come in eights, chains of ELAN in pairs


def scaled_by(factor: Literal["depth", "width", "hidden"], unit: int | None = None) -> Any:
    """Declare a field of a block that compound scaling multiplies (paper, section 3.2), rounded to whole units."""
    return field(metadata={"factor": factor, "unit": unit or _UNITS[factor]})


@dataclass(frozen=True)
class Block:
    """What a node of a blueprint is, as data; its docstring is its help. A new one is a frozen dataclass under this one
    with a row in `blocks.BLOCKS`, which says what builds it."""

    def scaling_fault(self, unscaled: Self) -> str | None:
        """Return why it can't be what `unscaled` becomes at some scale, with the nearest depth; None if it can."""
        return None


@dataclass(frozen=True)
class Conv(Block):
    """Convolution, batch norm, activation; padding keeps the size."""

    out: int = scaled_by("width")
    kernel: int = 1
    stride: int = 1


@dataclass(frozen=True)
class RepConv(Block):
    """3×3 and 1×1 in parallel (and the input itself where `identity`), summed, then activated; folds into one 3×3."""

    out: int = scaled_by("width")
    identity: bool = False


@dataclass(frozen=True)
class Elan(Block):
    """Computational block: a bypass and a second 1×1 of `hidden` channels, a chain of 3×3 of `chain_hidden` on the
    second, and a 1×1 transition to `out` over what `take` collects (paper, Figure 2 c).

    Positions in the chain, from 1, may be re-parameterized (section 4.1, Figure 6): by RepConv, or by RepConvN, which
    is RepConv without the identity.
    """

    out: int = scaled_by("width")
    hidden: int = scaled_by("hidden")
    chain_hidden: int = scaled_by("hidden")
    chain: int = scaled_by("depth")
    take: Literal["all", "every second"] = "every second"
    rep_conv: tuple[int, ...] = ()
    rep_conv_n: tuple[int, ...] = ()

    @property
    def taken(self) -> range:
        """The positions that the transition reads, the newest first."""
        return range(self.chain, 0, -1 if self.take == "all" else -2)

    def scaling_fault(self, unscaled: Self) -> str | None:
        last = max((*self.rep_conv, *self.rep_conv_n), default=0)
        if last <= self.chain:
            return None
        least = math.ceil(100 * (2 * math.ceil(last / 2) - 1) / unscaled.chain) / 100
        return (
            f"would have a chain of {self.chain} convolutions, but number {last} is re-parameterized. "
            f"Take {least} or more."
        )


@dataclass(frozen=True)
class Residual:
    """The unit of a CSP block or a residual chain, added to its input where `shortcut` and the widths agree.

    dark: 1×1 then 3×3; reversed dark: 3×3 then 1×1 (paper, Figure 7); res: 1×1, 3×3, 1×1. `expansion` is the inner
    width's share of the outer; `rep` makes the 3×3 a RepConv with identity.
    """

    shape: Literal["dark", "reversed dark", "res"] = "dark"
    expansion: float = 1.0
    groups: int = 1
    shortcut: bool = True
    rep: bool = False


@dataclass(frozen=True)
class ResidualChain(Block):
    """Residual units one after the other."""

    out: int = scaled_by("width")
    repeat: int = scaled_by("depth", unit=1)
    unit: Residual = Residual(expansion=0.5)


@dataclass(frozen=True)
class Csp(Block):
    """Cross stage partial block: [residual units over one 1×1, another 1×1], concatenated, then a 1×1 to `out`.

    Form A is just that with half of `out` inside; C has one more 1×1 after the units; B begins with a 1×1 to all of
    `out` that both ways share.
    """

    out: int = scaled_by("width")
    repeat: int = scaled_by("depth", unit=1)
    form: Literal["A", "B", "C"] = "A"
    unit: Residual = Residual()


@dataclass(frozen=True)
class HalfOsa(Block):
    """One-shot aggregation over the second half of the channels: two 3×3 one after the other, both concatenated, then
    a 1×1."""

    out: int = scaled_by("width")


@dataclass(frozen=True)
class Stem(Block):
    """A 3×3 of stride 2 to half of `out`; of it [1×1, 3×3 of stride 2] beside a max-pool; 1×1 over both."""

    out: int = scaled_by("width")


@dataclass(frozen=True)
class PoolConvDown(Block):
    """Down-sampling in two branches of `branch` channels: 1×1 then 3×3 of stride 2; max-pool then 1×1."""

    branch: int = scaled_by("width")


@dataclass(frozen=True)
class DownC(Block):
    """Down-sampling in two branches of half of `out`: 1×1 that keeps the width, then 3×3 of stride 2; max-pool then
    1×1."""

    out: int = scaled_by("width")


@dataclass(frozen=True)
class SppCspc(Block):
    """Spatial pyramid pooling in a cross stage partial block, pools of 5, 9, 13."""

    out: int = scaled_by("width")


@dataclass(frozen=True)
class Spp(Block):
    """1×1 to half of the inputs, itself and its pools of 5, 9, 13 concatenated, 1×1."""

    out: int = scaled_by("width")


@dataclass(frozen=True)
class TinySpp(Block):
    """The short form of SppCspc: no 3×3."""

    out: int = scaled_by("width")


@dataclass(frozen=True)
class SpaceToDepth(Block):
    """Every 2×2 of pixels becomes four times the channels."""


@dataclass(frozen=True)
class MaxPool(Block):
    """2×2 of stride 2."""


@dataclass(frozen=True)
class Upsample(Block):
    """Nearest, ×2."""


@dataclass(frozen=True)
class Concat(Block):
    """Of channels, in the order of the inputs."""


@dataclass(frozen=True)
class Add(Block):
    """The sum of the inputs, without activation."""


Anchors = tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class Node:
    """`inputs` names earlier nodes; none means the node before, or the image."""

    name: str
    block: Block
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blueprint:
    """A detector without weights. `outputs` are the nodes that the head reads, by rising stride, `auxiliary` those of
    the auxiliary head, which helps in training and is absent from the deploy graph (paper, section 4.2); `anchors` are
    three (width, height) in pixels for each output."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    anchors: Anchors
    auxiliary: tuple[str, ...] = ()
    activation: Literal["silu", "leaky_relu"] = "silu"
    implicit: bool = True
    image_size: int = 640

    def inputs_of(self) -> dict[str, tuple[str, ...]]:
        """Return the names that each node reads; "image" is the image."""
        before = ("image", *(node.name for node in self.nodes))
        return {node.name: node.inputs or (previous,) for previous, node in zip(before, self.nodes)}

    def needed_for(self, names: tuple[str, ...]) -> set[str]:
        """Return these nodes with all that they are computed from."""
        inputs, needed = self.inputs_of(), set(names)
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(inputs[node.name])
        return needed


def check_size(where: str, size: int, model: str, stride: int) -> None:
    """Raise UsageError, with the nearest sizes, unless `size` in pixels is a multiple of a model's largest stride."""
    if size % stride or size <= 0:
        below, above = size // stride * stride, max(1, size // stride + 1) * stride
        choices = f"{below} or {above}" if below > 0 else f"{above}"
        raise UsageError(
            f"{where} can't be {size}: {model} needs a multiple of its largest stride, {stride}. Take {choices}."
        )


def node(name: str, block: Block, *inputs: str) -> Node:
    return Node(name, block, inputs)


def without_auxiliary(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint without its auxiliary branch."""
    needed, inputs = blueprint.needed_for(blueprint.outputs), blueprint.inputs_of()
    nodes = tuple(replace(n, inputs=inputs[n.name]) for n in blueprint.nodes if n.name in needed)
    return replace(blueprint, nodes=nodes, auxiliary=())


def with_full_auxiliary(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint with an auxiliary branch that reads the sum wherever it read one summand of an Add."""
    sums = {name: n.name for n in blueprint.nodes if isinstance(n.block, Add) for name in n.inputs}

    def full(part: Node) -> Node:
        return replace(part, inputs=tuple(sums.get(name, name) for name in part.inputs))

    nodes = tuple(full(n) if n.name in blueprint.auxiliary else n for n in blueprint.nodes)
    return replace(blueprint, nodes=nodes)


def deployed(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint of the deploy graph before folding: without auxiliary branch and implicit vectors."""
    return replace(without_auxiliary(blueprint), implicit=False)


def scaled(blueprint: Blueprint, scale: Scale) -> Blueprint:
    """Return the blueprint at another depth and width (paper, sections 3.2 and 5.4.1).

    Widths go to the nearest multiple of 8, chains of ELAN to the nearest even length, both at least one unit and ties
    up; repeats of residual units to the nearest number, a single one stays. Raises UsageError, with the nearest scale,
    where a block can't be so: a chain that is shorter than the positions in it that are re-parameterized.
    """
    nodes = []
    for part in blueprint.nodes:
        block = _scaled_block(part.block, scale)
        fault = block.scaling_fault(part.block)
        if fault:
            raise UsageError(f"model.scale.depth can't be {scale.depth}: {part.name} of {blueprint.name} {fault}")
        nodes.append(replace(part, block=block))
    return replace(blueprint, nodes=tuple(nodes))


def misplaced_identities(blueprint: Blueprint) -> Iterator[str]:
    """Tell of each RepConv whose identity meets a residual or a concatenation of the outputs, which the paper advises
    against (section 4.1): the ablations need them, but nobody should place one unawares."""
    joined = {
        name
        for reader, names in blueprint.inputs_of().items()
        if isinstance(_block_of(blueprint, reader), (Concat, Add))
        for name in names
    }
    for part in blueprint.nodes:
        where, block = "", part.block
        if isinstance(block, Elan) and set(block.rep_conv) & set(block.taken):
            places = ", ".join(str(position) for position in block.rep_conv if position in block.taken)
            where = f"at position {places} of {part.name}, whose output is concatenated"
        elif isinstance(block, (Csp, ResidualChain)) and block.unit.rep and block.unit.shape == "dark":
            where = f"at the end of the residual units of {part.name}" if block.unit.shortcut else ""
        elif isinstance(block, RepConv) and block.identity and part.name in joined:
            where = f"in {part.name}, whose output is concatenated or added"
        if where:
            yield (
                f"{blueprint.name} has a RepConv with identity {where}: the paper (section 4.1) found that this "
                "destroys the diversity of gradients, and uses RepConvN, without identity, there."
            )


def _block_of(blueprint: Blueprint, name: str) -> Block:
    return next(part.block for part in blueprint.nodes if part.name == name)


def _scaled_block(block: Block, scale: Scale) -> Block:
    changes: dict[str, Any] = {}
    for spec in fields(block):
        if "factor" in spec.metadata:
            value, unit = getattr(block, spec.name), spec.metadata["unit"]
            single = spec.metadata["factor"] == "depth" and value == 1
            wished = value * getattr(scale, spec.metadata["factor"])
            changes[spec.name] = value if single else _nearest_multiple(wished, unit)
    return replace(block, **changes)


def _nearest_multiple(value: float, unit: int) -> int:
    """Return the nearest positive multiple of `unit`, the upper one of two equally near."""
    return max(unit, unit * math.floor(value / unit + 0.5))
