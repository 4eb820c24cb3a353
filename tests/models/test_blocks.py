"""A block that is added from outside is scaled, built, folded and counted as ours are."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from tests.models.test_scaling_and_folding import largest_relative_difference, with_random_statistics
from yolab.errors import UsageError
from yolab.experiment import Scale
from yolab.models import blocks, zoo
from yolab.models.blocks import BLOCKS, Built, ConvBlock, RepConv
from yolab.models.blueprint import Block, Blueprint, node, scaled, scaled_by
from yolab.models.count import cost, parameters
from yolab.models.detector import Detector
from yolab.models.fold import fold, fold_batch_norm


@dataclass(frozen=True)
class Tower(Block):
    """A RepConv, then so many 3×3 of our own."""

    out: int = scaled_by("width")
    chain: int = scaled_by("depth")


@dataclass(frozen=True)
class PlainConv(Block):
    """A 3×3 with a batch norm that no class of ours knows."""

    out: int = scaled_by("width")


class ConvAndNorm(nn.Module):
    def __init__(self, inputs: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, out, 3, padding=2, dilation=2, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()

    def folded(self) -> nn.Module:
        return nn.Sequential(fold_batch_norm(self.conv, self.norm), nn.ReLU())


def tower(block, inputs, activation) -> Built:
    chain = [ConvBlock(block.out, block.out, 3, 1, activation) for _ in range(block.chain)]
    return Built(nn.Sequential(RepConv(inputs[0], block.out, True, activation), *chain), block.out)


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setitem(BLOCKS, Tower, tower)
    monkeypatch.setitem(BLOCKS, PlainConv, lambda block, inputs, _: Built(ConvAndNorm(inputs[0], block.out), block.out))


def blueprint() -> Blueprint:
    """yolov7-tiny with the blocks of these tests in the place of its last ones."""
    base = zoo.find("yolov7-tiny")
    ours = {"out3": Tower(128, 2), "out4": PlainConv(256)}
    assert set(ours) < {n.name for n in base.nodes}
    return replace(base, nodes=tuple(replace(n, block=ours.get(n.name, n.block)) for n in base.nodes))


@pytest.mark.parametrize(
    ("scale", "tower_width", "chain"), [(Scale(width=0.125, hidden=0.125), 16, 2), (Scale(width=0.25, depth=2), 32, 4)]
)
def test_a_detector_of_added_blocks_is_scaled_folded_and_counted(added, scale, tower_width, chain):
    torch.manual_seed(0)
    point = scaled(blueprint(), scale)
    [block] = [n.block for n in point.nodes if isinstance(n.block, Tower)]
    assert (block.out, block.chain) == (tower_width, chain)
    model = with_random_statistics(Detector(point, classes=3))
    folded = fold(model)
    assert largest_relative_difference(model, folded, torch.rand(2, 3, 64, 128)) < 1e-4
    assert not any(isinstance(module, (nn.BatchNorm2d, RepConv)) for module in folded.modules())
    counted = cost(point, 3, 128)
    assert (counted.params, counted.params_fused) == (parameters(model), parameters(folded))


def test_a_block_can_refuse_a_scale_and_one_without_a_row_is_told_where_to_add_it(added):
    class Fussy(Tower):
        def scaling_fault(self, unscaled):
            return f"is too long. Take {unscaled.chain} or less." if self.chain > unscaled.chain else None

    fussy = replace(blueprint(), nodes=(node("only", Fussy(64, 2)),))
    with pytest.raises(UsageError, match=r"depth can't be 2.0: only of yolov7-tiny is too long. Take 2 or less."):
        scaled(fussy, Scale(depth=2.0))
    with pytest.raises(UsageError, match=r"Nothing builds the block Fussy: add a row to yolab.models.blocks.BLOCKS"):
        Detector(fussy, 3)


def test_every_block_has_a_line_of_help():
    assert blocks.help_of(Tower) == "A RepConv, then so many 3×3 of our own."
    assert all(blocks.help_of(kind) and "\n" not in blocks.help_of(kind) for kind in BLOCKS)
