"""COCO metrics by faster-coco-eval, which equals pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from yolab.data.coco import Dataset
from yolab.evaluation.detect import ImageDetections
from yolab.evaluation.score_names import ALL_METRICS

_ALL_SIZES, _MOST_DETECTIONS = 0, -1  # places in faster-coco-eval's tables of sizes and of detections an image


@dataclass(frozen=True)
class Scores:
    """`metrics`: COCO's twelve, as fractions, NaN for a size of which there is no object. `class_ap` and `class_ap50`
    (classes,), NaN for a class without an object; `precision` (classes, 101): at IoU 0.5, over rising recall."""

    metrics: dict[str, float]
    class_ap: np.ndarray
    class_ap50: np.ndarray
    precision: np.ndarray

    def by_class(self, names: Sequence[str]) -> dict[str, float]:
        """Return the AP of each class by its name, as `ap/cat`; classes without an object are left out."""
        return {f"ap/{name}": float(ap) for name, ap in zip(names, self.class_ap) if not np.isnan(ap)}


def score(dataset: Dataset, detections: Sequence[ImageDetections]) -> Scores:
    """Return how well detections fit the objects of a split."""
    results = to_coco(dataset, detections)
    if not results:
        nothing = np.zeros(len(dataset.names))
        return Scores(dict.fromkeys(ALL_METRICS, 0.0), nothing, nothing, np.zeros((len(dataset.names), 101)))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(dataset.ground_truth())
        evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox")
        evaluation.run()
    values = np.array(evaluation.stats[: len(ALL_METRICS)], dtype=np.float64)
    precision = evaluation.eval["precision"][:, :, :, _ALL_SIZES, _MOST_DETECTIONS]  # (IoUs, recalls, classes)
    precision = np.where(precision < 0, np.nan, precision)
    return Scores(
        dict(zip(ALL_METRICS, np.where(values < 0, np.nan, values).tolist())),
        precision.mean((0, 1)),
        precision[0].mean(0),
        precision[0].T,
    )


def to_coco(dataset: Dataset, detections: Sequence[ImageDetections]) -> list[dict[str, Any]]:
    """Return detections as a COCO results file holds them, which COCO's test server takes: category ids of the data
    set, x y width height; rounded as in the published code, sides to three digits and scores to five."""
    rows = []
    for found in detections:
        corners = found.boxes.numpy().astype(np.float64)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).round(3).tolist()
        scores = found.scores.numpy().astype(np.float64).round(5).tolist()
        for box, confidence, label in zip(boxes, scores, found.classes.tolist()):
            category = dataset.category_ids[label]
            rows.append({"image_id": found.image_id, "category_id": category, "bbox": box, "score": confidence})
    return rows
