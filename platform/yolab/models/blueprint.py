"""A model as data: named nodes with the block each one is, and compound scaling as an operation on them.

Blocks say in their fields what each number is (`scaled_by`), so scaling never knows a family.
"""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from yolab.experiment import Scale


def scaled_by(factor: Literal["depth", "width", "hidden"]) -> Any:
    """Declare a field of a block that compound scaling multiplies (paper, section 3.2)."""
    return field(metadata={"scaled_by": factor})


@dataclass(frozen=True)
class Conv:
    """Convolution, batch norm, activation; padding keeps the size."""

    out: int = scaled_by("width")
    kernel: int = 1
    stride: int = 1


@dataclass(frozen=True)
class RepConv:
    """3×3 and 1×1 in parallel (and the input itself where `identity`), summed, then activated; folds into one 3×3."""

    out: int = scaled_by("width")
    identity: bool = False


@dataclass(frozen=True)
class Elan:
    """Computational block: a bypass and a second 1×1 of `hidden` channels, a chain of 3×3 of `chain_hidden` on the
    second, and a 1×1 transition to `out` over what `take` collects (paper, Figure 2 c)."""

    out: int = scaled_by("width")
    hidden: int = scaled_by("hidden")
    chain_hidden: int = scaled_by("hidden")
    chain: int = scaled_by("depth")
    take: Literal["all", "every second"] = "every second"


@dataclass(frozen=True)
class PoolConvDown:
    """Down-sampling in two branches of `branch` channels: 1×1 then 3×3 of stride 2; max-pool then 1×1."""

    branch: int = scaled_by("width")


@dataclass(frozen=True)
class SppCspc:
    """Spatial pyramid pooling in a cross stage partial block, pools of 5, 9, 13."""

    out: int = scaled_by("width")


@dataclass(frozen=True)
class TinySpp:
    """The short form of SppCspc: no 3×3."""

    out: int = scaled_by("width")


@dataclass(frozen=True)
class MaxPool:
    """2×2 of stride 2."""


@dataclass(frozen=True)
class Upsample:
    """Nearest, ×2."""


@dataclass(frozen=True)
class Concat:
    """Of channels, in the order of the inputs."""


Block = Conv | RepConv | Elan | PoolConvDown | SppCspc | TinySpp | MaxPool | Upsample | Concat


@dataclass(frozen=True)
class Node:
    """`inputs` names earlier nodes; none means the node before."""

    name: str
    block: Block
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blueprint:
    """A detector without weights. `outputs` are the nodes that the head reads, by rising stride; `anchors` are three
    (width, height) in pixels for each of them."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    anchors: tuple[tuple[tuple[int, int], ...], ...]
    activation: Literal["silu", "leaky_relu"] = "silu"
    implicit: bool = True
    image_size: int = 640


def node(name: str, block: Block, *inputs: str) -> Node:
    return Node(name, block, inputs)


def scaled(blueprint: Blueprint, scale: Scale) -> Blueprint:
    """Return the blueprint at another depth and width (paper, sections 3.2 and 5.4.1)."""
    return replace(blueprint, nodes=tuple(replace(n, block=_scaled_block(n.block, scale)) for n in blueprint.nodes))


def _scaled_block(block: Block, scale: Scale) -> Block:
    changes: dict[str, Any] = {}
    for spec in fields(block):
        factor = spec.metadata.get("scaled_by")
        if factor is not None:
            unit = 2 if factor == "depth" else 8
            changes[spec.name] = _nearest_multiple(getattr(block, spec.name) * getattr(scale, factor), unit)
    return replace(block, **changes)


def _nearest_multiple(value: float, unit: int) -> int:
    """Return the nearest positive multiple of `unit`, the upper one of two equally near."""
    return max(unit, unit * math.floor(value / unit + 0.5))
