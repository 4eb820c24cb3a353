"""A detector built from its blueprint."""

import functools
from dataclasses import replace

import torch
from torch import Tensor, nn

from yolab import experiment
from yolab.models import blocks, heads, zoo
from yolab.models.blueprint import Blueprint, scaled, with_full_auxiliary, without_auxiliary


class Detector(nn.Module):
    """`strides` (levels) in pixels; `anchors` (levels, 3, 2) in pixels."""

    anchors: Tensor

    def __init__(self, blueprint: Blueprint, classes: int) -> None:
        super().__init__()
        self._follow(blueprint)
        activation = blocks.ACTIVATIONS[blueprint.activation]
        channels, stride = {"image": 3}, {"image": 1.0}
        self.nodes = nn.ModuleDict()
        for node in blueprint.nodes:
            inputs = self.inputs[node.name]
            built = blocks.build(node.block, [channels[name] for name in inputs], activation)
            self.nodes[node.name] = built.module
            channels[node.name] = built.channels
            stride[node.name] = stride[inputs[0]] * built.reduction
        self.strides = tuple(int(stride[name]) for name in blueprint.outputs)
        self.head = heads.Head(
            [channels[name] for name in blueprint.outputs],
            [channels[name] for name in blueprint.auxiliary],
            self.strides,
            classes,
            len(blueprint.anchors[0]),
            blueprint.implicit,
        )
        self.register_buffer("anchors", torch.tensor(blueprint.anchors, dtype=torch.float32), persistent=False)

    def _follow(self, blueprint: Blueprint) -> None:
        """Take a blueprint as the order of the forward pass."""
        self.blueprint = blueprint
        self.inputs = blueprint.inputs_of()
        wanted = {True: (*blueprint.outputs, *blueprint.auxiliary), False: blueprint.outputs}
        self._readers = {auxiliary: _last_readers(blueprint, names) for auxiliary, names in wanted.items()}

    @property
    def classes(self) -> int:
        return self.head.classes

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the raw prediction of each level, (images, 3, rows, columns, 5 + classes), as logits; in training
        those of the auxiliary head follow, if there is one.

        images (images, 3, rows, columns), RGB in 0..1, sides multiples of the largest stride.
        """
        return self._run(images, with_auxiliary=self.training)

    def with_auxiliary(self, images: Tensor) -> list[Tensor]:
        """Return the levels of the lead head and then those of the auxiliary head, in training or not."""
        return self._run(images, with_auxiliary=True)

    def _run(self, images: Tensor, with_auxiliary: bool) -> list[Tensor]:
        auxiliary = self.blueprint.auxiliary if with_auxiliary else ()
        kept, last_reader = (*self.blueprint.outputs, *auxiliary), self._readers[with_auxiliary]
        features = {"image": images}
        for node in self.blueprint.nodes:
            if node.name not in last_reader:
                continue
            inputs = self.inputs[node.name]
            features[node.name] = self.nodes[node.name](*(features[name] for name in inputs))
            for name in inputs:  # free what nobody reads any more
                if last_reader[name] == node.name and name not in kept:
                    features.pop(name, None)
        lead = [features[name] for name in self.blueprint.outputs]
        return self.head(lead, [features[name] for name in auxiliary])

    @property
    def device(self) -> torch.device:
        return self.anchors.device

    def predict(self, images: Tensor) -> Tensor:
        """Return decoded predictions, as `heads.decode` does, in fp32; the model is meant to be in eval mode."""
        return self.decode([level.float() for level in self(images)])

    def drop_auxiliary(self) -> None:
        """Remove the auxiliary branch, in place."""
        self._follow(without_auxiliary(self.blueprint))
        for name in set(self.nodes) - set(self.inputs):
            del self.nodes[name]
        self.head.auxiliary = nn.ModuleList()

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Return boxes and probabilities in pixels of the input; see `heads.decode`."""
        return heads.decode(levels, self.anchors, self.strides)


@functools.cache
def strides_of(blueprint: Blueprint) -> tuple[int, ...]:
    """Return the strides of the levels of a blueprint's detector, in pixels."""
    with torch.device("meta"):
        return Detector(blueprint, classes=1).strides


def blueprint_of(model: experiment.Model) -> Blueprint:
    """Return the scaled blueprint that an experiment names. Raises UsageError for an unknown model."""
    blueprint = scaled(zoo.find(model.name), model.scale)
    if not model.partial_auxiliary:
        blueprint = with_full_auxiliary(blueprint)
    if model.activation is None:
        return blueprint
    return replace(blueprint, activation=model.activation)


def _last_readers(blueprint: Blueprint, wanted: tuple[str, ...]) -> dict[str, str]:
    """Return, for each node that is needed for those wanted, the last node that reads it ("" for none)."""
    inputs, needed = blueprint.inputs_of(), blueprint.needed_for(wanted)
    readers = dict.fromkeys(needed, "")
    for node in blueprint.nodes:
        if node.name in needed:
            readers.update(dict.fromkeys(inputs[node.name], node.name))
    return readers
