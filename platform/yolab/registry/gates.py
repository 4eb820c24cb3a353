"""What a model must prove before it is promoted."""

from dataclasses import dataclass

import torch

from yolab.data.coco import Dataset
from yolab.data.loader import EvaluationBatches
from yolab.evaluation import metrics
from yolab.evaluation.detect import detect
from yolab.models.detector import Detector

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


@torch.no_grad()
def folded_outputs_are_equal(trained: Detector, folded: Detector, dataset: Dataset, image_size: int) -> Verdict:
    """Compare the raw outputs on real images: their largest difference, relative to the largest output."""
    batch = EvaluationBatches(
        list(dataset.samples[:_COMPARED_IMAGES]), image_size, _COMPARED_IMAGES, max(trained.strides)
    )
    pixels = batch[0].images.float() / 255
    error = 0.0
    for before, after in zip(trained.eval()(pixels), folded(pixels)):
        error = max(error, ((before - after).abs().max() / before.abs().max()).item())
    return Verdict("folded outputs equal", error <= MOST_RELATIVE_ERROR, f"largest relative difference {error:.1e}")


def score(model: Detector, dataset: Dataset, image_size: int) -> dict[str, float]:
    """Return the COCO metrics of a model on a split."""
    return metrics.score(dataset, detect(model, dataset.samples, image_size, _BATCH)).metrics


def ap_did_not_move(before: dict[str, float], after: dict[str, float]) -> Verdict:
    """Compare AP before and after folding."""
    moved = abs(before["ap"] - after["ap"])
    measured = f"AP {before['ap']:.4f} before, {after['ap']:.4f} after"
    return Verdict("AP did not move", moved <= MOST_AP_CHANGE, measured)


def ap50_is_enough(metrics: dict[str, float], wanted: float) -> Verdict:
    return Verdict(f"AP50 at least {wanted}", metrics["ap50"] >= wanted, f"AP50 {metrics['ap50']:.4f}")
