"""The detection head: one output convolution a level, with implicit vectors, and the decoding of what it says."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

BEFORE_CLASSES = 5  # x, y, width, height, objectness


class Head(nn.Module):
    """For each of three anchors and each cell: x, y, width, height, objectness and classes, as logits.

    Implicit vectors (paper, appendix A.1.3): one added before the output convolution, one multiplied after it. An
    auxiliary head (section 4.2) has output convolutions of its own, over features of `auxiliary_inputs` channels.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        auxiliary_inputs: Sequence[int],
        strides: Sequence[int],
        classes: int,
        anchors_a_level: int,
        implicit: bool,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.anchors_a_level = anchors_a_level
        out = anchors_a_level * (5 + classes)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, out, 1) for channels in inputs)
        self.auxiliary = nn.ModuleList(nn.Conv2d(channels, out, 1) for channels in auxiliary_inputs)
        self.add: nn.ParameterList | None = None
        self.multiply: nn.ParameterList | None = None
        if implicit:
            self.add = nn.ParameterList(0.02 * torch.randn(1, channels, 1, 1) for channels in inputs)
            self.multiply = nn.ParameterList(1 + 0.02 * torch.randn(1, out, 1, 1) for _ in inputs)
        self._set_priors(strides)

    @torch.no_grad()
    def _set_priors(self, strides: Sequence[int]) -> None:
        """Start objectness at about 8 objects in a 640 px image, classes at about 0.6 objects over all."""
        for conv, stride in [*zip(self.outputs, strides), *zip(self.auxiliary, strides)]:
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            bias = conv.bias.view(self.anchors_a_level, 5 + self.classes)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (self.classes - 0.99))

    def output(self, level: int) -> nn.Conv2d:
        """Return the output convolution of a level."""
        conv = self.outputs[level]
        assert isinstance(conv, nn.Conv2d)
        return conv

    def forward(self, lead: Sequence[Tensor], auxiliary: Sequence[Tensor] = ()) -> list[Tensor]:
        """Return, for each level of the lead and then of the auxiliary features, (images, anchors, rows, columns, 5 +
        classes)."""
        levels = []
        for index, x in enumerate(lead):
            if self.add is not None and self.multiply is not None:
                levels.append(self._shaped(self.outputs[index](x + self.add[index]) * self.multiply[index]))
            else:
                levels.append(self._shaped(self.outputs[index](x)))
        return levels + [self._shaped(conv(x)) for conv, x in zip(self.auxiliary, auxiliary)]

    def _shaped(self, x: Tensor) -> Tensor:
        images, _, rows, columns = x.shape
        return x.view(images, self.anchors_a_level, 5 + self.classes, rows, columns).permute(0, 1, 3, 4, 2)


def decode(levels: Sequence[Tensor], anchors: Tensor, strides: Sequence[int]) -> Tensor:
    """Return (images, predictions, 5 + classes): centre x, centre y, width, height in pixels of the input, then
    objectness and class probabilities; level by level, anchor by anchor, then rows, then columns.

    anchors (levels, anchors, 2) in pixels.
    """
    decoded = []
    for level, level_anchors, stride in zip(levels, anchors, strides):
        images, _, rows, columns, values = level.shape
        p = level.sigmoid()
        y, x = torch.meshgrid(
            torch.arange(rows, device=p.device, dtype=p.dtype),
            torch.arange(columns, device=p.device, dtype=p.dtype),
            indexing="ij",
        )
        centre = (2 * p[..., :2] - 0.5 + torch.stack([x, y], -1)) * stride
        size = (2 * p[..., 2:4]) ** 2 * level_anchors[:, None, None].to(p.dtype)
        decoded.append(torch.cat([centre, size, p[..., 4:]], -1).reshape(images, -1, values))
    return torch.cat(decoded, 1)
