"""The policies by which candidates become positives (paper, section 4.2)."""

import torch
from torch import Tensor

from yolab.assignment import simota
from yolab.assignment.candidates import Candidates, Targets
from yolab.experiment import Assigner


def assign(predictions: Tensor, candidates: Candidates, targets: Targets, assigner: Assigner) -> tuple[Tensor, Tensor]:
    """Return chosen (K,) bool and target (K,) int64 for the candidates' raw predictions (K, 5 + classes).

    plain: every candidate learns the object that proposed it. lead: simOTA over the lead head's predictions.
    """
    if assigner.policy == "plain":
        return torch.ones_like(candidates.image, dtype=torch.bool), candidates.target
    return simota.match(predictions.float(), candidates, targets, assigner.top_k)
