"""What a model must prove before it is promoted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from yolab.data.coco import Dataset
from yolab.data.loader import EvaluationBatches
from yolab.evaluation import metrics
from yolab.evaluation.detect import detect
from yolab.models.detector import Detector
from yolab.models.device import choose_device

MOST_RELATIVE_ERROR = 1e-4
MOST_AP_CHANGE = 0.001
_COMPARED_IMAGES = 8
_BATCH = 16


@dataclass(frozen=True)
class Verdict:
    """Of one gate: what was measured, and whether that is enough."""

    gate: str
    passed: bool
    measured: str


@dataclass(frozen=True)
class Evidence:
    """What gates look at: the model as it was trained and as it is folded, the split that proves it, the number there
    of each class of the model, the long side of an image in pixels, and the limits that were asked for."""

    trained: Detector
    folded: Detector
    dataset: Dataset
    label_of: np.ndarray
    image_size: int
    least_ap50: float

    @cached_property
    def before(self) -> dict[str, float]:
        """The COCO metrics of the trained model."""
        return self._score(self.trained)

    @cached_property
    def after(self) -> dict[str, float]:
        """The COCO metrics of the folded model."""
        return self._score(self.folded)

    def _score(self, model: Detector) -> dict[str, float]:
        found = detect(model.to(choose_device()), self.dataset.samples, self.image_size, _BATCH)
        return metrics.score(self.dataset, [each.relabelled(self.label_of) for each in found]).metrics


@dataclass(frozen=True)
class Gate:
    """One thing that a model must prove; `check` measures it."""

    help: str
    check: Callable[[Evidence], Verdict]


@torch.no_grad()
def folded_outputs_are_equal(evidence: Evidence) -> Verdict:
    """Compare the raw outputs on real images: their largest difference, relative to the largest output."""
    trained, folded = evidence.trained.cpu(), evidence.folded.cpu()  # whose arithmetic is exact
    samples = list(evidence.dataset.samples[:_COMPARED_IMAGES])
    batch = EvaluationBatches(samples, evidence.image_size, _COMPARED_IMAGES, max(trained.strides))
    pixels = batch[0].images.float() / 255
    error = 0.0
    for before, after in zip(trained.eval()(pixels), folded(pixels)):
        error = max(error, ((before - after).abs().max() / before.abs().max()).item())
    return Verdict("folded outputs equal", error <= MOST_RELATIVE_ERROR, f"largest relative difference {error:.1e}")


def ap_did_not_move(evidence: Evidence) -> Verdict:
    """Compare AP before and after folding."""
    before, after = evidence.before["ap"], evidence.after["ap"]
    return Verdict(
        "AP did not move", abs(before - after) <= MOST_AP_CHANGE, f"AP {before:.4f} before, {after:.4f} after"
    )


def verdict_on_ap50(metrics: dict[str, float], wanted: float) -> Verdict:
    return Verdict(f"AP50 at least {wanted}", metrics["ap50"] >= wanted, f"AP50 {metrics['ap50']:.4f}")


# A gate of one's own is a row more
GATES = {
    "outputs": Gate("the folded graph gives the same outputs", folded_outputs_are_equal),
    "ap": Gate("AP is the same after folding", ap_did_not_move),
    "ap50": Gate("AP50 is at least --min-ap50", lambda evidence: verdict_on_ap50(evidence.after, evidence.least_ap50)),
}
