"""The policies by which candidates become positives, those of Tables 6 and 7 among them (paper, section 4.2)."""

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class Batch:
    """What a policy decides from: raw predictions (images, anchors, rows, columns, 5 + classes) of each level of the
    `lead` head and the `auxiliary` one; `targets` and `anchors` (levels, anchors, 2), in pixels, on the CPU; `objects`,
    the targets where the predictions are."""

    lead: Sequence[Tensor]
    auxiliary: Sequence[Tensor]
    targets: Targets
    objects: Targets
    anchors: Tensor
    strides: Sequence[int]
    assigner: Assigner

    def propose(self, radius: float) -> Candidates:
        """Return the candidates within a radius, in cells, where the predictions are."""
        grids = [(level.shape[2], level.shape[3]) for level in self.lead]
        threshold = self.assigner.anchor_threshold
        found = propose(self.targets, grids, self.anchors, self.strides, radius, threshold)
        return found.to(self.lead[0].device)

    def match(self, candidates: Candidates, levels: Sequence[Tensor], spread: float = CONSTRAINED) -> Positives:
        """Return what simOTA chooses of candidates by a head's predictions."""
        return Positives(candidates, *simota.match(levels, candidates, self.objects, self.assigner, spread), spread)

    @property
    def auxiliary_spread(self) -> float:
        return CONSTRAINED if self.assigner.constrained else UNCONSTRAINED


@dataclass(frozen=True)
class Policy:
    """A row of `POLICIES`: its help; what it makes of a batch, the positives of the lead head and then, if it needs an
    auxiliary head, of that."""

    help: str
    assign: Callable[[Batch], list[Positives]]
    needs_auxiliary: bool = False


def _plain(batch: Batch) -> list[Positives]:
    fine = batch.propose(batch.assigner.radius)
    return [Positives(fine, torch.ones_like(fine.image, dtype=torch.bool), fine.target)]


def _lead(batch: Batch) -> list[Positives]:
    return [batch.match(batch.propose(batch.assigner.radius), batch.lead)]


def _independent(batch: Batch) -> list[Positives]:
    [of_lead] = _lead(batch)
    return [of_lead, batch.match(of_lead.candidates, batch.auxiliary, batch.auxiliary_spread)]


def _lead_guided(batch: Batch) -> list[Positives]:
    [of_lead] = _lead(batch)
    return [of_lead, replace(of_lead, spread=batch.auxiliary_spread)]


def _coarse_to_fine(batch: Batch) -> list[Positives]:
    [of_lead] = _lead(batch)
    coarse = batch.match(batch.propose(batch.assigner.coarse_radius), batch.lead)
    return [of_lead, replace(coarse, spread=batch.auxiliary_spread)]


POLICIES: dict[str, Policy] = {
    "plain": Policy("every candidate learns the object that proposed it", _plain),
    "lead": Policy("simOTA over the lead head's predictions", _lead),
    "independent": Policy("each head by its own predictions", _independent, needs_auxiliary=True),
    "lead_guided": Policy("the lead head's positives for both heads", _lead_guided, needs_auxiliary=True),
    "coarse_to_fine": Policy(
        "for the auxiliary head more candidates, those within coarse_radius, matched by the lead head's predictions",
        _coarse_to_fine,
        needs_auxiliary=True,
    ),
}


def needs_auxiliary(assigner: Assigner) -> bool:
    """Return whether the policy of an assigner gives an auxiliary head something to learn."""
    return POLICIES[assigner.policy].needs_auxiliary


def assign(
    lead: Sequence[Tensor],
    auxiliary: Sequence[Tensor],
    targets: Targets,
    anchors: Tensor,
    strides: Sequence[int],
    assigner: Assigner,
) -> list[Positives]:
    """Return what the lead head learns and then, with a policy that needs it, what the auxiliary head does.

    lead, auxiliary: raw predictions (images, anchors, rows, columns, 5 + classes) of each level; targets and anchors
    (levels, anchors, 2), in pixels, on the CPU.
    """
    objects = targets.to(lead[0].device)
    return POLICIES[assigner.policy].assign(Batch(lead, auxiliary, targets, objects, anchors, strides, assigner))
