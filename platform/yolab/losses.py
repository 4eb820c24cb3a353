"""The loss of a detector: box, objectness and class parts over the assigned predictions, summed over the levels."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from yolab.assignment import policies
from yolab.assignment.candidates import Candidates, Targets, propose
from yolab.experiment import Assigner, Loss

_LEVEL_WEIGHTS = {2: (1.0, 0.4), 3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.25, 0.06)}


def scaled_gains(gains: Loss, levels: int, classes: int, image_size: int) -> Loss:
    """Return the gains, given for 3 levels, 80 classes and 640 px, for the model and data at hand."""
    return Loss(
        box=gains.box * 3 / levels,
        objectness=gains.objectness * (image_size / 640) ** 2 * 3 / levels,
        classification=gains.classification * classes / 80 * 3 / levels,
    )


def detection_loss(
    levels: Sequence[Tensor],
    targets: Targets,
    anchors: Tensor,
    strides: Sequence[int],
    assigner: Assigner,
    gains: Loss,
    sum_over_workers: Callable[[Tensor], Tensor] = lambda counts: counts,
    workers: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return the total, multiplied by the images of the batch, and the parts (4,): box, objectness, class, their sum.

    levels: raw predictions (images, anchors, rows, columns, 5 + classes); targets on the CPU; anchors (levels, anchors,
    2) in pixels, on the CPU. With several workers each has a part of the batch, and the mean of their totals (and of
    their gradients) equals the total of the whole batch, because means are taken over all workers' positives.
    """
    device = levels[0].device
    grids = [(level.shape[2], level.shape[3]) for level in levels]
    candidates = propose(targets, grids, anchors, strides, assigner.radius, assigner.anchor_threshold).to(device)
    targets = targets.to(device)
    predictions = candidates.gather(levels).float()
    chosen, target = policies.assign(predictions.detach(), candidates, targets, assigner)

    sizes = candidates.level_counts
    images = len(targets.present)
    counts = torch.stack([*(c.sum() for c in chosen.split(sizes)), torch.tensor(images, device=device)]).float()
    counts = sum_over_workers(counts)
    positives, batch = (counts[:-1] / workers).clamp(min=1e-9), counts[-1]

    overlap = ciou(candidates.decode_boxes(predictions), targets.boxes[candidates.image, target])
    box = _mean_of_chosen(1 - overlap, chosen, sizes, positives)
    objectness_target = overlap.detach().clamp(min=0)
    objectness = _objectness(levels, candidates, objectness_target, chosen, batch / workers)
    classification = torch.zeros_like(box)
    classes = predictions.shape[1] - 5
    if classes > 1:
        wanted = one_hot(targets.classes[candidates.image, target], classes).float()
        entropy = binary_cross_entropy_with_logits(predictions[:, 5:], wanted, reduction="none").mean(1)
        classification = _mean_of_chosen(entropy, chosen, sizes, positives)

    parts = torch.stack([gains.box * box, gains.objectness * objectness, gains.classification * classification])
    parts = torch.cat([parts, parts.sum(0, keepdim=True)])
    return parts[3] * batch, parts.detach()


def ciou(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the complete IoU (N,) of boxes (N, 4), centre and size: overlap, distance of centres and aspect."""
    eps = 1e-7
    width, height = predicted[:, 2], predicted[:, 3] + eps
    target_width, target_height = target[:, 2], target[:, 3] + eps
    half, target_half = torch.stack([width, height], 1) / 2, torch.stack([target_width, target_height], 1) / 2
    low, high = predicted[:, :2] - half, predicted[:, :2] + half
    target_low, target_high = target[:, :2] - target_half, target[:, :2] + target_half

    intersection = (torch.minimum(high, target_high) - torch.maximum(low, target_low)).clamp(min=0).prod(1)
    union = width * height + target_width * target_height - intersection + eps
    overlap = intersection / union
    enclosing = torch.maximum(high, target_high) - torch.minimum(low, target_low)
    distance = (predicted[:, :2] - target[:, :2]).pow(2).sum(1) / (enclosing.pow(2).sum(1) + eps)
    aspect = 4 / math.pi**2 * (torch.atan(target_width / target_height) - torch.atan(width / height)).pow(2)
    with torch.no_grad():
        weight = aspect / (aspect - overlap + 1 + eps)
    return overlap - distance - weight * aspect


def _mean_of_chosen(values: Tensor, chosen: Tensor, sizes: tuple[int, ...], positives: Tensor) -> Tensor:
    """Return the sum over the levels of each level's mean over its positives; values and chosen (K,)."""
    sums = torch.stack([level.sum() for level in torch.where(chosen, values, 0).split(sizes)])
    return (sums / positives).sum()


def _objectness(
    levels: Sequence[Tensor], candidates: Candidates, overlap: Tensor, chosen: Tensor, images: Tensor
) -> Tensor:
    """Return the weighted sum over the levels of the mean binary cross entropy over all cells; the target is the
    overlap where a positive is, else 0."""
    total = torch.zeros((), device=overlap.device)
    sizes = candidates.level_counts
    cells = zip(levels, candidates.image.split(sizes), candidates.anchor.split(sizes), candidates.row.split(sizes))
    rest = zip(candidates.column.split(sizes), overlap.split(sizes), chosen.split(sizes), _LEVEL_WEIGHTS[len(levels)])
    for (level, image, anchor, row), (column, level_overlap, level_chosen, weight) in zip(cells, rest):
        _, anchors, rows, columns, _ = level.shape
        index = ((image * anchors + anchor) * rows + row) * columns + column
        target = _last_written(level[..., 4].numel(), index, level_overlap, level_chosen)
        entropy = binary_cross_entropy_with_logits(level[..., 4].flatten().float(), target, reduction="sum")
        total = total + weight * entropy / (images * anchors * rows * columns)
    return total


def _last_written(size: int, index: Tensor, values: Tensor, chosen: Tensor) -> Tensor:
    """Return (size,) zeros with values at index where chosen; of several for one cell the last stays, on any device."""
    order = torch.arange(1, len(index) + 1, device=index.device) * chosen
    last = torch.zeros(size, dtype=torch.int64, device=index.device).scatter_reduce(0, index, order, "amax")
    padded = torch.cat([values.new_zeros(1), values])
    return padded[last]
