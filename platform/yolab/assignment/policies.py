"""The policies by which candidates become positives, those of Tables 6 and 7 among them (paper, section 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from yolab.assignment import simota
from yolab.assignment.candidates import CONSTRAINED, UNCONSTRAINED, Candidates, propose
from yolab.data.batch import Targets
from yolab.experiment import Assigner


@dataclass(frozen=True)
class Positives:
    """What one head learns: of the K candidates those `chosen` (K,) bool, each the object `target` (K,) of its image.
    `spread` is how far the head's centres can reach, see `Candidates.decode_boxes`."""

    candidates: Candidates
    chosen: Tensor
    target: Tensor
    spread: float = CONSTRAINED


def assign(
    lead: Sequence[Tensor],
    auxiliary: Sequence[Tensor],
    targets: Targets,
    anchors: Tensor,
    strides: Sequence[int],
    assigner: Assigner,
) -> list[Positives]:
    """Return what the lead head learns and then, unless the policy is plain or lead, what the auxiliary head does.

    lead, auxiliary: raw predictions (images, anchors, rows, columns, 5 + classes) of each level; targets and anchors
    (levels, anchors, 2), in pixels, on the CPU. The policies:

    - plain: every candidate learns the object that proposed it;
    - lead: simOTA over the lead head's predictions;
    - independent: each head by its own predictions;
    - lead_guided: the lead head's positives for both;
    - coarse_to_fine: for the auxiliary head more candidates, those within `coarse_radius`, matched by the lead head's
      predictions.
    """
    device = lead[0].device
    grids = [(level.shape[2], level.shape[3]) for level in lead]
    objects = targets.to(device)

    def proposed(radius: float) -> Candidates:
        return propose(targets, grids, anchors, strides, radius, assigner.anchor_threshold).to(device)

    def matched(candidates: Candidates, levels: Sequence[Tensor], spread: float = CONSTRAINED) -> Positives:
        return Positives(candidates, *simota.match(levels, candidates, objects, assigner, spread), spread)

    fine = proposed(assigner.radius)
    if assigner.policy == "plain":
        return [Positives(fine, torch.ones_like(fine.image, dtype=torch.bool), fine.target)]
    of_lead = matched(fine, lead)
    if assigner.policy == "lead":
        return [of_lead]
    spread = CONSTRAINED if assigner.constrained else UNCONSTRAINED
    if assigner.policy == "independent":
        return [of_lead, matched(fine, auxiliary, spread)]
    coarse = of_lead if assigner.policy == "lead_guided" else matched(proposed(assigner.coarse_radius), lead)
    return [of_lead, replace(coarse, spread=spread)]
