"""simOTA: each object takes its cheapest predictions, as many as their overlap earns (paper, section 4.2)."""

import math

import torch
from torch import Tensor

from yolab.assignment.candidates import Candidates, Targets
from yolab.experiment import Assigner

_BLOCK = 8


@torch.no_grad()
def match(
    predictions: Tensor, candidates: Candidates, targets: Targets, assigner: Assigner, spread: float
) -> tuple[Tensor, Tensor]:
    """Return chosen (K,) bool and target (K,) int64, the object of the image that each chosen candidate learns.

    predictions (K, 5 + classes) raw. For each image, over all levels: an object takes as many candidates as the sum of
    its `top_k` best IoUs says, at least one, cheapest first, out of all of the image's candidates; a candidate that
    several want goes to the object to which it is cheapest among all of the image's, even one that did not want it.
    """
    if candidates.most == 0:
        return torch.zeros_like(candidates.image, dtype=torch.bool), candidates.target
    slots = candidates.image, candidates.position
    padded = len(targets.present), math.ceil(candidates.most / _BLOCK) * _BLOCK

    # all images in one computation, (images, objects, candidates); what is padding costs infinitely much
    valid = torch.zeros(padded, dtype=torch.bool, device=predictions.device)
    valid[slots] = True
    boxes = predictions.new_ones(*padded, 4)
    boxes[slots] = candidates.decode_boxes(predictions, spread)
    padding = ~(targets.present[:, :, None] & valid[:, None])
    overlap = iou(targets.boxes[:, :, None], boxes[:, None]).masked_fill_(padding, 0)
    class_cost = _class_cost(predictions, slots, padded, targets.classes)
    cost = class_cost.mul_(assigner.class_weight).sub_(overlap.add(1e-8).log_(), alpha=assigner.iou_weight)
    cost.masked_fill_(padding, torch.inf)

    most = min(assigner.top_k, candidates.most)
    wanted = _smallest(-overlap, most)[0].sum(-1).neg_().int().clamp(min=1)
    price, cheapest = _smallest(cost, most)
    takes = (torch.arange(most, device=cost.device) < wanted[..., None]) & price.isfinite()

    def summed(values: Tensor) -> Tensor:  # (images, objects, most) -> (images, candidates)
        return torch.zeros_like(valid, dtype=torch.int64).scatter_add_(1, cheapest.flatten(1), values.flatten(1))

    takers = summed(takes.long())
    only_taker = summed(takes * torch.arange(takes.shape[1], device=cost.device)[:, None])
    owner = torch.where(takers > 1, cost.min(1).indices, only_taker)
    return (takers > 0)[slots], owner[slots]


def _smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the smallest along the last axis, rising, and their places, as `topk` does, in less than half its time:
    all of them are in the `count` blocks with the smallest minima."""
    blocks = values.unflatten(-1, (-1, _BLOCK))
    if blocks.shape[-2] <= count:
        return values.topk(count, largest=False)
    nearest = blocks.amin(-1).topk(count, largest=False, sorted=False).indices
    among = blocks.gather(-2, nearest[..., None].expand(*nearest.shape, _BLOCK)).flatten(-2)
    found, place = among.topk(count, largest=False)
    return found, nearest.gather(-1, place // _BLOCK) * _BLOCK + place % _BLOCK


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


def _class_cost(predictions: Tensor, slots: tuple[Tensor, Tensor], padded: tuple[int, int], classes: Tensor) -> Tensor:
    """Return (images, objects, candidates): binary cross entropy of √(σ(class)·σ(objectness)) with each object's class.

    With p that root, a one-hot target's cost is −Σ log(1 − p) + log(1 − p[class]) − log p[class]: the sum is the
    candidate's alone, so no (objects × candidates × classes) tensor is needed.
    """
    probability = predictions[:, 4:].sigmoid()
    root = probability[:, 1:].mul_(probability[:, :1]).sqrt_().clamp_(1e-18, 1 - 1e-7)
    roots = predictions.new_full((*padded, root.shape[1]), 0.5)
    roots[slots] = root
    total = predictions.new_zeros(padded)
    total[slots] = root.neg_().add_(1).log_().sum(1)
    own = roots.transpose(1, 2).gather(1, classes[:, :, None].expand(-1, -1, padded[1]))
    return torch.log((1 - own).div_(own)).sub_(total[:, None])
