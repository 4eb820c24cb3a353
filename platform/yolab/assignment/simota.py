"""simOTA: each object takes its cheapest predictions, as many as their overlap earns (paper, section 4.2)."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from yolab.assignment.candidates import Candidates, Targets

_IOU_WEIGHT = 3.0


@torch.no_grad()
def match(predictions: Tensor, candidates: Candidates, targets: Targets, top_k: int) -> tuple[Tensor, Tensor]:
    """Return chosen (K,) bool and target (K,) int64, the object of the image that each chosen candidate learns.

    predictions (K, 5 + classes) raw. For each image, over all levels: an object takes as many candidates as the sum of
    its `top_k` best IoUs says, at least one, cheapest first, out of all of the image's candidates; a candidate that
    several want goes to the object to which it is cheapest among all of the image's, even one that did not want it.
    """
    images = len(targets.present)
    if candidates.most == 0:
        return torch.zeros_like(candidates.image, dtype=torch.bool), candidates.target
    slots = candidates.image, candidates.position
    padded = (images, candidates.most)

    valid = torch.zeros(padded, dtype=torch.bool, device=predictions.device)
    valid[slots] = True
    boxes = predictions.new_ones(*padded, 4)
    boxes[slots] = candidates.decode_boxes(predictions)
    allowed = targets.present[:, :, None] & valid[:, None]  # (images, objects, candidates)
    overlap = iou(targets.boxes[:, :, None], boxes[:, None]) * allowed
    cost = _class_cost(predictions, slots, padded, targets.classes) - _IOU_WEIGHT * torch.log(overlap + 1e-8)
    cost = cost.masked_fill(~allowed, torch.inf)

    most = min(top_k, candidates.most)
    wanted = overlap.topk(most).values.sum(-1).int().clamp(min=1)
    cheapest = cost.topk(most, largest=False).indices
    taken = torch.arange(most, device=cost.device) < wanted[..., None]
    wants = torch.zeros_like(allowed).scatter_(2, cheapest, taken) & allowed

    contested = wants.sum(1) > 1
    owner = torch.where(contested, cost.argmin(1), wants.int().argmax(1))
    return wants.any(1)[slots], owner[slots]


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union of boxes (..., 4), centre and size, broadcast against each other."""
    low = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    intersection = (high - low).clamp(min=0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - intersection
    return intersection / union.clamp(min=1e-9)


def _class_cost(predictions: Tensor, slots: tuple[Tensor, Tensor], padded: tuple[int, int], classes: Tensor) -> Tensor:
    """Return (images, objects, candidates): binary cross entropy of √(σ(class)·σ(objectness)) with each object's class.

    With z the logit of the root, a one-hot target's cost is Σ softplus(z) − z[class]: the sum is the candidate's alone,
    so no (objects × candidates × classes) tensor is needed.
    """
    log_root = (logsigmoid(predictions[:, 5:]) + logsigmoid(predictions[:, 4:5])) / 2
    softplus = -torch.log1p(-log_root.exp().clamp(max=1 - 1e-7))
    total = predictions.new_zeros(padded)
    total[slots] = softplus.sum(1)
    logit = predictions.new_zeros(*padded, log_root.shape[1])
    logit[slots] = log_root + softplus
    index = classes[:, None, :].expand(-1, padded[1], -1)
    return (total[:, :, None] - logit.gather(2, index)).transpose(1, 2)
