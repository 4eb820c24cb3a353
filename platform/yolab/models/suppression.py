"""Suppression: of boxes of one class that overlap, the best stays. The settings here hold wherever boxes are shown or
scored: `predict`, `evaluate`, ONNX files, served models."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert

IOU = 0.65  # above which two boxes of a class are one object
MOST = 300  # boxes of an image
MOST_BEFORE = 30_000  # of an image, the best of those above the confidence, are compared with each other
SHOWN_CONFIDENCE = 0.25  # of boxes that somebody looks at
SCORED_CONFIDENCE = 0.001  # of boxes that a metric ranks


def suppress(decoded: Tensor, confidence: float, iou: float = IOU) -> list[Tensor]:
    """Return for each image (n, 6): x1 y1 x2 y2, score, class, by falling score, after suppression class by class.

    decoded (images, predictions, 5 + classes) as from `Detector.decode`. A box may carry several classes.
    """
    results = []
    for predictions in decoded:
        predictions = predictions[predictions[:, 4] > confidence]
        scores = predictions[:, 5:] * predictions[:, 4:5]
        row, label = (scores > confidence).nonzero(as_tuple=True)
        score = scores[row, label]
        if len(score) > MOST_BEFORE:
            score, best = score.topk(MOST_BEFORE)
            row, label = row[best], label[best]
        boxes = box_convert(predictions[row, :4], "cxcywh", "xyxy")
        kept = batched_nms(boxes, score, label, iou)[:MOST]
        results.append(torch.cat([boxes[kept], score[kept, None], label[kept, None].to(score.dtype)], 1))
    return results
