"""Re-parameterization: the deploy graph that equals a trained graph (paper, section 4.1 and appendix A.1.3)."""

import copy

import torch
from torch import Tensor, nn

from yolab.models.blocks import ConvBlock, RepConv, SelfFolding
from yolab.models.detector import Detector
from yolab.models.heads import Head


def fold(detector: Detector) -> Detector:
    """Return a copy in eval mode without batch norm, parallel branches, implicit vectors and auxiliary branch, equal
    up to rounding.

    The given detector is left untouched; folding a folded detector copies it.
    """
    folded = copy.deepcopy(detector)
    fold_in_place(folded)
    return folded


@torch.no_grad()
def fold_in_place(detector: Detector) -> None:
    """Make a detector the deploy graph that `fold` returns."""
    detector.eval()
    detector.drop_auxiliary()
    _folded(detector)


def _folded(module: nn.Module) -> nn.Module:
    """Return what stands for a module in the deploy graph: itself, folded, or another."""
    if isinstance(module, SelfFolding):
        return module.folded()
    if isinstance(module, RepConv):
        return fold_rep_conv(module)
    if isinstance(module, ConvBlock) and isinstance(module.norm, nn.BatchNorm2d):
        module.conv = fold_batch_norm(module.conv, module.norm)
        module.norm = nn.Identity()
    elif isinstance(module, Head):
        fold_implicit(module)
    for name, child in module.named_children():
        setattr(module, name, _folded(child))
    return module


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Return one convolution that equals `norm(conv(x))` in eval mode (paper A.1.3, Figure A6).

    conv weight (out, in/groups, k, k); norm over `out` channels. The inputs are left untouched.
    """
    if conv.weight.is_meta:  # of a model that is only counted, shapes are all that matters
        return _conv_like(conv, conv.weight, norm.bias)
    scale, shift = _affine_of(norm)
    return _conv_like(conv, conv.weight * scale.view(-1, 1, 1, 1), shift + bias_of(conv) * scale)


def fold_rep_conv(block: RepConv) -> ConvBlock:
    """Return one 3×3 block that equals the sum of the branches: the 1×1 and the identity are 3×3 kernels with zeros
    around the centre."""
    weight = bias = torch.zeros((), device=block.dense.conv.weight.device)
    for branch in (block.dense, block.pointwise):
        assert isinstance(branch.norm, nn.BatchNorm2d)
        conv = fold_batch_norm(branch.conv, branch.norm)
        border = 1 - branch.conv.kernel_size[0] // 2
        weight, bias = weight + nn.functional.pad(conv.weight, (border,) * 4), bias + bias_of(conv)
    if block.identity is not None:
        scale, shift = _affine_of(block.identity)
        centre = nn.functional.pad(torch.diag(scale)[:, :, None, None], (1, 1, 1, 1))
        weight, bias = weight + centre, bias + shift
    out, inputs = weight.shape[:2]
    folded = ConvBlock(inputs, out, 3, 1, lambda: copy.deepcopy(block.activation)).eval()
    folded.conv, folded.norm = _conv_like(block.dense.conv, weight, bias), nn.Identity()
    return folded


def fold_implicit(head: Head) -> None:
    """Put the implicit vectors a, m of each level into its output convolution: b ← (b + W·a)·m, W ← W·m."""
    if head.add is None or head.multiply is None:
        return
    for level, (add, multiply) in enumerate(zip(head.add, head.multiply)):
        conv, gain = head.output(level), multiply.flatten()
        bias = (bias_of(conv) + conv.weight.flatten(1) @ add.flatten()) * gain
        head.outputs[level] = _conv_like(conv, conv.weight * gain.view(-1, 1, 1, 1), bias)
    head.add = head.multiply = None


def bias_of(conv: nn.Conv2d) -> Tensor:
    """Return the bias, zeros (out,) where there is none."""
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias


def _affine_of(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift, (channels) each, that equal the norm in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _conv_like(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    folded = copy.deepcopy(conv)
    folded.weight, folded.bias = nn.Parameter(weight), nn.Parameter(bias)
    return folded
