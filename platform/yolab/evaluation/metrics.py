"""COCO metrics by faster-coco-eval, which equals pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from yolab.data.coco import Dataset
from yolab.evaluation.detect import ImageDetections

METRICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def coco_metrics(dataset: Dataset, detections: Sequence[ImageDetections]) -> dict[str, float]:
    """Return METRICS as fractions over the images of a split; NaN for a size of which there is no object."""
    from faster_coco_eval import COCO, COCOeval_faster

    results = to_coco(dataset, detections)
    if not results:
        return dict.fromkeys(METRICS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(dataset.ground_truth())
        evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox")
        evaluation.run()
    return {name: float(value) if value >= 0 else float("nan") for name, value in zip(METRICS, evaluation.stats)}


def to_coco(dataset: Dataset, detections: Sequence[ImageDetections]) -> list[dict[str, Any]]:
    """Return detections as a COCO results file holds them: category ids of the data set, x y width height."""
    rows = []
    for found in detections:
        corners = found.boxes.numpy().astype(np.float64)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).round(3).tolist()
        for box, score, label in zip(boxes, found.scores.tolist(), found.classes.tolist()):
            category = dataset.category_ids[label]
            rows.append({"image_id": found.image_id, "category_id": category, "bbox": box, "score": score})
    return rows
