"""Scaling as an operation on blueprints, and folding for any weights."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolab.errors import UsageError
from yolab.experiment import Model, Scale
from yolab.models import zoo
from yolab.models.blueprint import Conv, Elan, RepConv, node, scaled
from yolab.models.count import cost, parameters
from yolab.models.detector import Detector, blueprint_of
from yolab.models.fold import fold


def with_random_statistics(model: Detector) -> Detector:
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
    return model.eval()


def largest_relative_difference(a: Detector, b: Detector, images: torch.Tensor) -> float:
    with torch.no_grad():
        pairs = zip(a(images), b(images))
        return max(((x - y).abs().max() / x.abs().max()).item() for x, y in pairs)


def test_width_leaves_the_blocks_own_widths_and_depth_leaves_all_widths():
    wide = scaled(zoo.find("yolov7"), Scale(width=1.25))
    deep = scaled(zoo.find("yolov7"), Scale(depth=1.5))
    blocks = {n.name: n.block for n in zoo.find("yolov7").nodes}
    for n in wide.nodes:
        if isinstance(n.block, Elan):
            assert (n.block.hidden, n.block.chain) == (blocks[n.name].hidden, blocks[n.name].chain)
            assert n.block.out == blocks[n.name].out * 1.25
    assert {n.block.chain for n in deep.nodes if isinstance(n.block, Elan)} == {6}
    assert {n.block.out for n in deep.nodes if isinstance(n.block, Conv)} == {
        b.out for b in blocks.values() if isinstance(b, Conv)
    }


@settings(max_examples=15, deadline=None)
@given(depth=st.floats(0.33, 3), width=st.floats(0.125, 2), name=st.sampled_from(sorted(zoo.BLUEPRINTS)))
def test_any_scale_gives_multiples_that_build_and_cost_rises_with_it(depth, width, name):
    base = zoo.find(name)
    point = scaled(base, Scale(depth=depth, width=width))
    for n in point.nodes:
        if isinstance(n.block, Elan):
            assert n.block.chain % 2 == 0
            assert n.block.chain >= 2
            assert n.block.out % 8 == 0
    smaller = cost(scaled(base, Scale(depth=depth, width=width / 2)), 80, 64)
    assert smaller.gflops <= cost(point, 80, 64).gflops


def test_tied_widths_and_chains_round_up():
    block = Elan(out=20, hidden=64, chain_hidden=64, chain=3)
    blueprint = replace(zoo.find("yolov7-tiny"), nodes=(node("only", block),))
    assert scaled(blueprint, Scale()).nodes[0].block == Elan(out=24, hidden=64, chain_hidden=64, chain=4)


def test_activation_can_be_chosen_and_an_unknown_model_is_refused_with_the_nearest():
    assert blueprint_of(Model(name="yolov7-tiny", activation="silu")).activation == "silu"
    with pytest.raises(UsageError, match="Did you mean yolov7-tiny"):
        zoo.find("yolov7tiny")


@pytest.mark.parametrize("name", sorted(zoo.BLUEPRINTS))
def test_folded_equals_unfolded_and_the_original_is_left_untouched(name):
    torch.manual_seed(0)
    model = with_random_statistics(Detector(scaled(zoo.find(name), Scale(width=0.25, hidden=0.25)), classes=3))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.rand(2, 3, 64, 96)
    folded = fold(model)
    assert largest_relative_difference(model, folded, images) < 1e-4
    assert largest_relative_difference(folded, fold(folded), images) == 0
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert parameters(folded) < parameters(model)


def test_rep_conv_with_identity_folds_into_one_convolution():
    torch.manual_seed(0)
    base = scaled(zoo.find("yolov7-tiny"), Scale(width=0.25, hidden=0.25))
    nodes = tuple(
        replace(n, block=RepConv(32, identity=True)) if n.name == "out3" else n
        for n in (*base.nodes[:-3], node("before3", Conv(32, 3), "top_down3"), *base.nodes[-3:])
    )
    nodes = tuple(replace(n, inputs=("before3",)) if n.name == "out3" else n for n in nodes)
    model = with_random_statistics(Detector(replace(base, nodes=nodes), classes=3))
    assert model.nodes["out3"].identity is not None
    assert largest_relative_difference(model, fold(model), torch.rand(1, 3, 64, 64)) < 1e-4


def test_objectness_starts_at_eight_objects_an_image():
    torch.manual_seed(0)
    model = Detector(scaled(zoo.find("yolov7-tiny"), Scale(width=0.25, hidden=0.25)), classes=3)
    biases = [model.head.output(level).bias.view(3, 8)[:, 4].mean().item() for level in range(3)]
    expected = [torch.log(torch.tensor(8 / (640 / stride) ** 2)).item() for stride in model.strides]
    assert biases == pytest.approx(expected, abs=0.3)
