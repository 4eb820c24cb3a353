"""simOTA: each object takes its cheapest predictions, as many as their overlap earns (paper, section 4.2)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from yolab.assignment.candidates import Candidates
from yolab.data.batch import Targets
from yolab.experiment import Assigner

_BLOCKS = 8  # parts of an object's row of candidates, see `_smallest`
_FACTORS = 5  # so many probabilities are multiplied before a logarithm is taken: of five from 1e-7 on that is no zero


def match(
    levels: Sequence[Tensor], candidates: Candidates, targets: Targets, assigner: Assigner, spread: float
) -> tuple[Tensor, Tensor]:
    """Return chosen (K,) bool and target (K,) int64, the object of the image that each chosen candidate learns.

    levels: raw predictions (images, anchors, rows, columns, 5 + classes). For each image, over all levels: an object
    takes as many candidates as the sum of its `top_k` best IoUs says, at least one, cheapest first, out of all of the
    image's candidates; a candidate that several want goes to the object to which it is cheapest among all of the
    image's, even one that did not want it.
    """
    if candidates.most == 0:
        return torch.zeros_like(candidates.image, dtype=torch.bool), candidates.target
    slots = candidates.image, candidates.position
    padded = len(targets.present), math.ceil(candidates.most / _BLOCKS) * _BLOCKS

    # all images in one computation, (images, objects, candidates); what is padding costs infinitely much
    predictions = candidates.gather([level.detach() for level in levels]).float()
    valid = torch.zeros(padded, dtype=torch.bool, device=predictions.device)
    valid[slots] = valid.new_ones(())  # not True, which would wait for a GPU
    boxes = predictions.new_ones(*padded, 4)
    boxes[slots] = candidates.decode_boxes(predictions, spread)
    root = (predictions[:, 5:].sigmoid() * predictions[:, 4:5].sigmoid()).sqrt_().clamp_(1e-18, 1 - 1e-7)
    del predictions
    cost = _class_cost(root, slots, padded, targets.classes).mul_(assigner.class_weight)
    del root
    padding = (targets.present[:, :, None] & valid[:, None]).logical_not_()
    overlap = iou(targets.boxes[:, :, None], boxes[:, None]).masked_fill_(padding, 0).neg_()
    most = min(assigner.top_k, candidates.most)
    wanted = _smallest(overlap, most)[0].sum(-1).neg_().int().clamp(min=1)
    cost.sub_(overlap.neg_().add_(1e-8).log_(), alpha=assigner.iou_weight).masked_fill_(padding, torch.inf)
    del overlap, padding

    price, cheapest = _smallest(cost, most)
    takes = (torch.arange(most, device=cost.device) < wanted[..., None]) & price.isfinite()
    objects = torch.arange(cost.shape[1], device=cost.device)[:, None]

    def summed(values: Tensor) -> Tensor:  # (images, objects, most) -> (images, candidates)
        return torch.zeros_like(valid, dtype=torch.int64).scatter_add_(1, cheapest.flatten(1), values.flatten(1))

    takers = summed(takes.long())
    only_taker = summed(takes * objects)
    cheapest_to = torch.where(cost == cost.amin(1, keepdim=True), objects.float(), torch.inf).amin(1)
    owner = torch.where(takers > 1, cheapest_to.long(), only_taker)
    return (takers > 0)[slots], owner[slots]


def _smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the smallest along the last axis, rising, and their places, as `topk` does, in less than half its time:
    of the columns into which the axis is folded, those with the `count` smallest minima have all of them."""
    columns = values.unflatten(-1, (_BLOCKS, -1))
    if columns.shape[-1] <= count:
        return values.topk(count, largest=False)
    nearest = columns.amin(-2).topk(count, largest=False, sorted=False).indices
    among = columns.gather(-1, nearest[..., None, :].expand(*nearest.shape[:-1], _BLOCKS, count)).flatten(-2)
    found, place = among.topk(count, largest=False)
    return found, place // count * columns.shape[-1] + nearest.gather(-1, place % count)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union of boxes (..., 4), centre and size, broadcast against each other."""
    sides = []
    for axis in (0, 1):
        (centre_a, size_a), (centre_b, size_b) = ((box[..., axis], box[..., axis + 2]) for box in (a, b))
        low = torch.maximum(centre_a - size_a / 2, centre_b - size_b / 2)
        sides.append(torch.minimum(centre_a + size_a / 2, centre_b + size_b / 2).sub_(low).clamp_(min=0))
    intersection = sides[0].mul_(sides[1])
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - intersection
    return intersection.div_(union.clamp_(min=1e-9))


def _class_cost(root: Tensor, slots: tuple[Tensor, Tensor], padded: tuple[int, int], classes: Tensor) -> Tensor:
    """Return (images, objects, candidates): binary cross entropy of p with each object's class, where p, here `root`
    (K, classes), is √(σ(class)·σ(objectness)); it is overwritten.

    A one-hot target's cost is −Σ log(1 − p) + log(1 − p[class]) − log p[class]: the sum is the candidate's alone, so no
    (objects × candidates × classes) tensor is needed.
    """
    own = root.gather(1, classes[slots[0]])
    cost = torch.log((1 - own).div_(own))
    first, *others = root.neg_().add_(1).split(math.ceil(root.shape[1] / _FACTORS), 1)
    products = first.clone()  # contiguous, which halves the time of what follows
    for other in others:
        products[:, : other.shape[1]].mul_(other)
    cost.sub_(products.log_().sum(1, keepdim=True))
    result = cost.new_zeros(*padded, classes.shape[1])
    result[slots] = cost
    return result.transpose(1, 2).contiguous()
