"""The loss of a detector: box, objectness and class parts over the assigned predictions, summed over the levels."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from yolab.assignment import policies
from yolab.assignment.candidates import Candidates, rows
from yolab.assignment.policies import Positives
from yolab.data.batch import Targets
from yolab.experiment import Assigner, Loss

_LEVEL_WEIGHTS = {2: (1.0, 0.4), 3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.25, 0.06)}


def scaled_gains(gains: Loss, levels: int, classes: int, image_size: int) -> Loss:
    """Return the gains, given for 3 levels, 80 classes and 640 px, for the model and data at hand."""
    scaled = {
        "box": gains.box * 3 / levels,
        "objectness": gains.objectness * (image_size / 640) ** 2 * 3 / levels,
        "classification": gains.classification * classes / 80 * 3 / levels,
    }
    return gains.model_copy(update=scaled)


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

    levels: raw predictions (images, anchors, rows, columns, 5 + classes) of the lead head and, with a policy that
    needs it, then those of the auxiliary head, whose loss counts `assigner.auxiliary_weight`; targets on the CPU;
    anchors (levels, anchors, 2) in pixels, on the CPU. Where several workers have a part of the batch each, and sum
    their counts, the sum of their totals (and of their gradients) and the mean of their parts equal those of the whole
    batch, because means are taken over all workers' positives.
    """
    lead, auxiliary = levels[: len(strides)], levels[len(strides) :]
    positives = policies.assign(lead, auxiliary, targets, anchors, strides, assigner)
    images = torch.full((1,), float(len(targets.present)), device=lead[0].device)
    counts = torch.cat([_counts(head) for head in positives] + [images])
    counts = sum_over_workers(counts) / workers
    objects = targets.to(lead[0].device)

    parts = torch.zeros(3, device=lead[0].device)
    for number, (head, head_levels) in enumerate(zip(positives, (lead, auxiliary))):
        own_counts = counts[number * len(lead) : (number + 1) * len(lead)].clamp(min=1e-9)
        head_parts = _head_parts(head_levels, head, objects, gains, own_counts, counts[-1])
        parts = parts + (assigner.auxiliary_weight if number else 1.0) * head_parts
    parts = parts * torch.stack([images.new_full((), g) for g in (gains.box, gains.objectness, gains.classification)])
    parts = torch.cat([parts, parts.sum(0, keepdim=True)])
    return parts[3] * counts[-1], parts.detach()


def _counts(positives: Positives) -> Tensor:
    """Return how many positives each level has."""
    return torch.stack([level.sum() for level in positives.chosen.split(positives.candidates.level_counts)]).float()


def _head_parts(
    levels: Sequence[Tensor], positives: Positives, objects: Targets, gains: Loss, counts: Tensor, images: Tensor
) -> Tensor:
    """Return box, objectness and class part (3,) of one head, without their gains.

    counts (levels,): the positives that means are taken over; images: a worker's share of the batch.
    """
    candidates, chosen, target = positives.candidates, positives.chosen, positives.target
    sizes = candidates.level_counts
    predictions = candidates.gather(levels).float()
    overlap = ciou(candidates.decode_boxes(predictions, positives.spread), objects.boxes[candidates.image, target])
    box = _mean_of_chosen(1 - overlap, chosen, sizes, counts)
    objectness = _objectness(levels, candidates, overlap.detach().clamp(min=0), chosen, images, gains.focal_gamma)
    classification = torch.zeros_like(box)
    if predictions.shape[1] > 6:
        logits = predictions[:, 5:]
        wanted = torch.full_like(logits, gains.label_smoothing / 2)
        wanted.scatter_(1, objects.classes[candidates.image, target][:, None], 1 - gains.label_smoothing / 2)
        entropy = _entropy(logits, wanted, gains.focal_gamma).mean(1)
        classification = _mean_of_chosen(entropy, chosen, sizes, counts)
    return torch.stack([box, objectness, classification])


def _entropy(logits: Tensor, wanted: Tensor, focal_gamma: float) -> Tensor:
    """Return the binary cross entropy of each element or, with a gamma, its focal loss (Lin et al. 2017, α = 0.25)."""
    entropy = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    if not focal_gamma:
        return entropy
    probability = logits.sigmoid()
    right = wanted * probability + (1 - wanted) * (1 - probability)
    return entropy * (0.25 * wanted + 0.75 * (1 - wanted)) * (1 - right) ** focal_gamma


def ciou(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the complete IoU (N,) of boxes (N, 4), centre and size: overlap, distance of centres and aspect."""
    eps = 1e-7
    width, height = predicted[:, 2], predicted[:, 3] + eps
    target_width, target_height = target[:, 2], target[:, 3] + eps
    half, target_half = torch.stack([width, height], 1) / 2, torch.stack([target_width, target_height], 1) / 2
    low, high = predicted[:, :2] - half, predicted[:, :2] + half
    target_low, target_high = target[:, :2] - target_half, target[:, :2] + target_half

    sides = (torch.minimum(high, target_high) - torch.maximum(low, target_low)).clamp(min=0)
    intersection = sides[:, 0] * sides[:, 1]  # not prod, whose backward waits for a GPU
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
    levels: Sequence[Tensor],
    candidates: Candidates,
    overlap: Tensor,
    chosen: Tensor,
    images: Tensor,
    focal_gamma: float,
) -> Tensor:
    """Return the weighted sum over the levels of the mean binary cross entropy over all cells; the target is the
    overlap where a positive is, else 0."""
    total = torch.zeros((), device=overlap.device)
    sizes = candidates.level_counts
    parts = zip(candidates.prediction.split(sizes), overlap.split(sizes), chosen.split(sizes))
    for level, (index, level_overlap, level_chosen), weight in zip(levels, parts, _LEVEL_WEIGHTS[len(levels)]):
        logits = rows(level)[:, 4].float()
        target = _last_written(len(logits), index, level_overlap, level_chosen)
        cells = images * (len(logits) // len(level))
        total = total + weight * _entropy(logits, target, focal_gamma).sum() / cells
    return total


def _last_written(size: int, index: Tensor, values: Tensor, chosen: Tensor) -> Tensor:
    """Return (size,) zeros with values at index where chosen; of several for one cell the last stays, on any device."""
    order = torch.arange(1, len(index) + 1, device=index.device) * chosen
    last = torch.zeros(size, dtype=torch.int64, device=index.device).scatter_reduce(0, index, order, "amax")
    padded = torch.cat([values.new_zeros(1), values])
    return padded[last]
