"""Scaling as an operation on blueprints, and folding for any weights."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolab.errors import UsageError
from yolab.experiment import Model, Scale
from yolab.models import blueprint as spec
from yolab.models import zoo
from yolab.models.blocks import Elan
from yolab.models.blocks import RepConv as RepConvModule
from yolab.models.blueprint import Conv, RepConv, misplaced_identities, node, scaled
from yolab.models.count import cost, parameters
from yolab.models.detector import Detector, blueprint_of
from yolab.models.fold import fold, fold_batch_norm


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
        if isinstance(n.block, spec.Elan):
            assert (n.block.hidden, n.block.chain) == (blocks[n.name].hidden, blocks[n.name].chain)
            assert n.block.out == blocks[n.name].out * 1.25
    assert {n.block.chain for n in deep.nodes if isinstance(n.block, spec.Elan)} == {6}
    assert {n.block.out for n in deep.nodes if isinstance(n.block, Conv)} == {
        b.out for b in blocks.values() if isinstance(b, Conv)
    }


def test_the_auxiliary_head_of_an_e_elan_reads_one_set_or_the_sum():
    partial, full = (blueprint_of(Model(name="yolov7-e6e", partial_auxiliary=p)).inputs_of() for p in (True, False))
    assert partial["auxiliary4"] == ("top_down4_second",)
    assert full["auxiliary4"] == ("top_down4",)
    assert partial["auxiliary6"] == full["auxiliary6"] == ("spp",)


FREE = sorted(name for name in zoo.BLUEPRINTS if "3s-elan-" not in name)


@settings(max_examples=8, deadline=None)
@given(depth=st.floats(0.33, 3), width=st.floats(0.125, 2), hidden=st.floats(0.125, 2), name=st.sampled_from(FREE))
def test_any_scale_gives_a_model_that_builds_trains_a_step_and_folds(depth, width, hidden, name):
    """On the meta device: shapes and gradients for any size, without the memory."""
    point = scaled(zoo.find(name), Scale(depth=depth, width=width, hidden=hidden))
    with torch.device("meta"):
        model = Detector(point, 80)
        images = torch.empty(2, 3, 128, 128)
    sum(level.sum() for level in model(images)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    folded = fold(model)
    assert [level.shape for level in folded(images)] == [level.shape for level in model.eval()(images)]


@settings(max_examples=6, deadline=None)
@given(
    base=st.tuples(st.floats(0.33, 2), st.floats(0.125, 1.5), st.floats(0.125, 1.5)),
    factor=st.sampled_from(["depth", "width", "hidden"]),
    more=st.floats(1, 1.5),
    name=st.sampled_from(FREE),
)
def test_cost_never_falls_when_a_factor_rises(base, factor, more, name):
    scale = Scale(**dict(zip(("depth", "width", "hidden"), base)))
    larger = scale.model_copy(update={factor: getattr(scale, factor) * more})
    before, after = (cost(scaled(zoo.find(name), each), 80, 128) for each in (scale, larger))
    assert before.params <= after.params
    assert before.params_fused <= after.params_fused
    assert before.gflops <= after.gflops


@pytest.mark.parametrize("name", sorted(zoo.BLUEPRINTS))
def test_a_small_model_of_every_family_trains_a_step_and_what_is_counted_is_what_folding_leaves(name):
    point = scaled(zoo.find(name), Scale(width=0.125, hidden=0.125))
    model = Detector(point, 3)
    counted = cost(point, 3, 128)
    assert counted.params == parameters(model)
    assert counted.params_fused == parameters(fold(model))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    sum(level.square().mean() for level in model(torch.rand(2, 3, 64, 64))).backward()
    optimiser.step()


def test_a_depth_that_cuts_off_a_re_parameterized_position_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"number 5 is re-parameterized. Take 0.84 or more"):
        scaled(zoo.find("yolov7-3s-elan-b"), Scale(depth=0.5))
    scaled(zoo.find("yolov7-3s-elan-b"), Scale(depth=0.84))


def test_identities_at_residual_or_concatenated_places_are_told_and_the_planned_ones_are_not():
    told = {name for name in zoo.BLUEPRINTS if list(misplaced_identities(zoo.find(name)))}
    assert told == {"yolov7-3s-elan-e", "yolor-w6-repcsp"}
    assert all("section 4.1" in text for text in misplaced_identities(zoo.find("yolov7-3s-elan-e")))


def test_names_of_nodes_are_used_once():
    for blueprint in zoo.BLUEPRINTS.values():
        assert len({n.name for n in blueprint.nodes}) == len(blueprint.nodes)


@torch.no_grad()
def test_two_elans_and_their_sum_equal_one_of_group_convolutions_with_shuffle_and_merge():
    """E-ELAN (paper, Figures 2 d and A3): expand by group convolution, shuffle the groups together, merge by adding."""
    torch.manual_seed(0)
    inputs, hidden, out = 16, 8, 24
    first, second = (
        with_random_statistics(Elan(inputs, spec.Elan(out, hidden, hidden, 4), torch.nn.SiLU)) for _ in range(2)
    )
    x = torch.rand(2, inputs, 5, 6)

    def grouped(pair, x):
        """Both blocks' convolutions as one of two groups, over the channels of both inputs."""
        a, b = (fold_batch_norm(conv.conv, conv.norm) for conv in pair)
        weight, bias = torch.cat([a.weight, b.weight]), torch.cat([a.bias, b.bias])
        return torch.nn.functional.silu(torch.nn.functional.conv2d(x, weight, bias, padding=a.padding, groups=2))

    both = torch.cat([x, x], 1)
    outputs = [grouped((first.entry, second.entry), both)]
    for pair in zip(first.chain, second.chain):
        outputs.append(grouped(pair, outputs[-1]))
    collected = [outputs[4], outputs[2], outputs[0], grouped((first.bypass, second.bypass), both)]
    shuffled = torch.cat([part.chunk(2, 1)[group] for group in range(2) for part in collected], 1)
    merged = grouped((first.transition, second.transition), shuffled).chunk(2, 1)
    torch.testing.assert_close(merged[0] + merged[1], first(x) + second(x), rtol=1e-4, atol=1e-5)


def test_tied_widths_and_chains_round_up():
    block = spec.Elan(out=20, hidden=64, chain_hidden=64, chain=3)
    blueprint = replace(zoo.find("yolov7-tiny"), nodes=(node("only", block),))
    assert scaled(blueprint, Scale()).nodes[0].block == spec.Elan(out=24, hidden=64, chain_hidden=64, chain=4)


def test_activation_can_be_chosen_and_an_unknown_model_is_refused_with_the_nearest():
    assert blueprint_of(Model(name="yolov7-tiny", activation="silu")).activation == "silu"
    with pytest.raises(UsageError, match="Did you mean yolov7-tiny"):
        zoo.find("yolov7tiny")


@pytest.mark.parametrize("name", sorted(zoo.BLUEPRINTS))
def test_folded_equals_unfolded_and_the_original_is_left_untouched(name):
    torch.manual_seed(0)
    model = with_random_statistics(Detector(scaled(zoo.find(name), Scale(width=0.25, hidden=0.25)), classes=3))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.rand(2, 3, 64, 128)
    folded = fold(model)
    assert largest_relative_difference(model, folded, images) < 1e-4
    assert largest_relative_difference(folded, fold(folded), images) == 0
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(isinstance(m, (torch.nn.BatchNorm2d, RepConvModule)) for m in folded.modules())
    assert (folded.blueprint.auxiliary, len(folded.head.auxiliary)) == ((), 0)
    assert parameters(folded) < parameters(model)


def test_the_auxiliary_head_answers_in_training_alone():
    model = Detector(scaled(zoo.find("yolov7-w6"), Scale(width=0.125, hidden=0.125)), classes=3)
    images = torch.rand(2, 3, 64, 64)
    assert [level.shape for level in model(images)] == 2 * [level.shape for level in model.eval()(images)]
    assert len(model.with_auxiliary(images)) == 8


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
