"""Which predictions could learn which objects, from geometry alone (paper, section 4.2).

Proposals depend on the targets and the grid, not on what the model says. They are made where the targets are, on the
CPU, and sent to the device with their sizes known, so that nothing in a training step waits for the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yolab.data.batch import Targets, on_device

# How far a predicted centre can lie from the middle of its cell, over the cell's side: x = spread · (σ − ½) + ½.
CONSTRAINED = 2.0
UNCONSTRAINED = 3.0  # reaches the cells that a radius of 1 adds (paper, Table 7)

_DIRECTIONS = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])  # own, left, up, right, down


@dataclass(frozen=True)
class Candidates:
    """K proposals of a batch, ordered by level; direction (own, left, up, right, down); anchor; image; target.

    image (K,) int64; prediction (K,) int64: its number in the level, see `rows`; target (K,) int64: the object of the
    image that proposed it; position (K,) int64: its number among the image's candidates; cell (K, 2): column and row;
    stride (K, 1) and anchor_size (K, 2) in pixels. `level_counts` says how many of the K belong to each level, `most`
    how many an image has at most.
    """

    image: Tensor
    prediction: Tensor
    target: Tensor
    position: Tensor
    cell: Tensor
    stride: Tensor
    anchor_size: Tensor
    level_counts: tuple[int, ...]
    most: int

    def to(self, device: torch.device) -> "Candidates":
        return on_device(self, device)

    def gather(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the candidates' predictions (K, values) of levels (images, anchors, rows, columns, values)."""
        parts = zip(levels, self.prediction.split(self.level_counts))
        return torch.cat([rows(level).index_select(0, prediction) for level, prediction in parts])

    def decode_boxes(self, predictions: Tensor, spread: float) -> Tensor:
        """Return the boxes (K, 4), centre and size in pixels, of raw predictions (K, values)."""
        p = predictions[:, :4].sigmoid()
        centre = (spread * (p[:, :2] - 0.5) + 0.5 + self.cell) * self.stride
        return torch.cat([centre, (2 * p[:, 2:]) ** 2 * self.anchor_size], 1)


def rows(level: Tensor) -> Tensor:
    """Return a level (images, anchors, rows, columns, values) as (predictions, values), ordered by image, row, column,
    anchor: without copying what a head over channels-last features gives."""
    return level.permute(0, 2, 3, 1, 4).flatten(0, 3)


def propose(
    targets: Targets,
    grids: Sequence[tuple[int, int]],
    anchors: Tensor,
    strides: Sequence[int],
    radius: float,
    anchor_threshold: float,
) -> Candidates:
    """Propose an object at its own cell, and at each neighbour whose border is nearer than `radius` cells, for every
    anchor whose sides differ from the object's by less than the factor `anchor_threshold`.

    grids: (rows, columns) of each level; anchors (levels, anchors, 2) in pixels. All on the CPU.
    """
    found: dict[str, list[Tensor]] = {key: [] for key in ("image", "prediction", "target")}
    geometry: dict[str, list[Tensor]] = {key: [] for key in ("cell", "stride", "anchor_size")}
    counts = []
    for (height, width), level_anchors, stride in zip(grids, anchors, strides):
        centre = targets.boxes[..., :2] / stride
        ratio = targets.boxes[None, :, :, 2:] / level_anchors[:, None, None, :]
        fits = torch.maximum(ratio, 1 / ratio).amax(-1) < anchor_threshold
        proposed = _near_borders(centre, torch.tensor([width, height]), radius)
        mask = proposed[:, None] & fits[None] & targets.present  # (directions, anchors, images, objects)
        direction, anchor, image, target = mask.nonzero(as_tuple=True)
        cell = (centre[image, target] + radius * _DIRECTIONS[direction]).long()
        column, row = cell[:, 0].clamp(0, width - 1), cell[:, 1].clamp(0, height - 1)
        prediction = ((image * height + row) * width + column) * len(level_anchors) + anchor
        for key, value in zip(found, (image, prediction, target)):
            found[key].append(value)
        geometry["cell"].append(torch.stack([column, row], 1).float())
        geometry["stride"].append(torch.full((len(image), 1), float(stride)))
        geometry["anchor_size"].append(level_anchors[anchor])
        counts.append(len(image))
    joined = {key: torch.cat(parts) for key, parts in (found | geometry).items()}
    position, most = _number_within_images(joined["image"], len(targets.boxes))
    return Candidates(**joined, position=position, level_counts=tuple(counts), most=most)


def _near_borders(centre: Tensor, grid: Tensor, radius: float) -> Tensor:
    """Return (5, images, objects): whether each direction's cell is proposed. centre in cells, grid (columns, rows).

    Neighbours are proposed only if the centre is more than one cell from the image's edge on that side.
    """
    left_up = (centre % 1 < radius) & (centre > 1)
    right_down = ((grid - centre) % 1 < radius) & (grid - centre > 1)
    own = torch.ones_like(left_up[..., :1])
    return torch.cat([own, left_up, right_down], -1).permute(2, 0, 1)


def _number_within_images(image: Tensor, images: int) -> tuple[Tensor, int]:
    """Return each candidate's number among those of its image, and the largest count of an image."""
    counts = torch.bincount(image, minlength=images)
    by_image = image.argsort(stable=True)
    first = counts.cumsum(0) - counts
    position = torch.empty_like(image)
    position[by_image] = torch.arange(len(image)) - first[image[by_image]]
    return position, int(counts.max()) if images else 0
