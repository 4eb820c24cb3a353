"""A detector built from its blueprint."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from yolab import experiment
from yolab.models import blocks, heads, zoo
from yolab.models.blueprint import Blueprint, Conv, MaxPool, PoolConvDown, Upsample, scaled


class Detector(nn.Module):
    """`strides` (levels) in pixels; `anchors` (levels, 3, 2) in pixels."""

    anchors: Tensor

    def __init__(self, blueprint: Blueprint, classes: int) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.inputs = _inputs_of_nodes(blueprint)
        activation = blocks.ACTIVATIONS[blueprint.activation]
        channels, stride = {"image": 3}, {"image": 1.0}
        self.nodes = nn.ModuleDict()
        for node in blueprint.nodes:
            inputs = self.inputs[node.name]
            self.nodes[node.name], channels[node.name] = blocks.build(
                node.block, [channels[name] for name in inputs], activation
            )
            stride[node.name] = stride[inputs[0]] * _reduction(node.block)
        self.strides = tuple(int(stride[name]) for name in blueprint.outputs)
        self.head = heads.Head(
            [channels[name] for name in blueprint.outputs],
            self.strides,
            classes,
            len(blueprint.anchors[0]),
            blueprint.implicit,
        )
        self.register_buffer("anchors", torch.tensor(blueprint.anchors, dtype=torch.float32), persistent=False)
        read_later = {name for inputs in self.inputs.values() for name in inputs} | set(blueprint.outputs)
        self._last_use = {
            name: max((i for i, n in enumerate(blueprint.nodes) if name in self.inputs[n.name]), default=-1)
            for name in read_later
        }

    @property
    def classes(self) -> int:
        return self.head.classes

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the raw prediction of each level, (images, 3, rows, columns, 5 + classes), as logits.

        images (images, 3, rows, columns), RGB in 0..1, sides multiples of the largest stride.
        """
        features = {"image": images}
        for position, node in enumerate(self.blueprint.nodes):
            inputs = self.inputs[node.name]
            features[node.name] = self.nodes[node.name](*(features[name] for name in inputs))
            for name in inputs:  # free what nobody reads any more
                if self._last_use[name] == position and name not in self.blueprint.outputs:
                    del features[name]
        return self.head([features[name] for name in self.blueprint.outputs])

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Return boxes and probabilities in pixels of the input; see `heads.decode`."""
        return heads.decode(levels, self.anchors, self.strides)


def blueprint_of(model: experiment.Model) -> Blueprint:
    """Return the scaled blueprint that an experiment names. Raises UsageError for an unknown model."""
    blueprint = scaled(zoo.find(model.name), model.scale)
    if model.activation is None:
        return blueprint
    return replace(blueprint, activation=model.activation)


def _inputs_of_nodes(blueprint: Blueprint) -> dict[str, tuple[str, ...]]:
    inputs, before = {}, "image"
    for node in blueprint.nodes:
        inputs[node.name] = node.inputs or (before,)
        before = node.name
    return inputs


def _reduction(block: object) -> float:
    match block:
        case Conv(stride=stride):
            return stride
        case MaxPool() | PoolConvDown():
            return 2
        case Upsample():
            return 0.5
        case _:
            return 1
