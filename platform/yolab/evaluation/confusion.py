"""Which objects were found as what, at a confidence that one would use: the confusion matrix, and the images that went
worst."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torchvision.ops import box_iou

from yolab.data.samples import Sample
from yolab.evaluation.detect import ImageDetections
from yolab.models.suppression import SHOWN_CONFIDENCE

_IOU = 0.5


def confusion(samples: Sequence[Sample], detections: Sequence[ImageDetections], classes: int) -> np.ndarray:
    """Return (classes + 1, classes + 1) counts: what was there by row, what it was found as by column; the last row is
    what was found where nothing is, the last column what was not found."""
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for _, pairs in _matched(samples, detections, classes):
        np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    return counts


def worst(
    samples: Sequence[Sample], detections: Sequence[ImageDetections], classes: int, most: int
) -> list[tuple[Sample, ImageDetections]]:
    """Return the images with the most mistakes: objects missed or taken for another class, and inventions."""
    found = {detection.image_id: detection for detection in detections}
    mistakes = _mistakes(samples, detections, classes)
    ordered = sorted(samples, key=lambda sample: (-mistakes[sample.image_id], sample.image_id))
    return [(s, confident(found[s.image_id])) for s in ordered[:most] if mistakes[s.image_id]]


def most_different(
    samples: Sequence[Sample],
    first: Sequence[ImageDetections],
    second: Sequence[ImageDetections],
    classes: int,
    most: int,
) -> list[tuple[Sample, list[ImageDetections]]]:
    """Return the images in which two models' numbers of mistakes differ most, with what each found."""
    found = [{detection.image_id: detection for detection in each} for each in (first, second)]
    mistakes = [_mistakes(samples, each, classes) for each in (first, second)]
    gap = {sample.image_id: abs(mistakes[0][sample.image_id] - mistakes[1][sample.image_id]) for sample in samples}
    ordered = sorted(samples, key=lambda sample: (-gap[sample.image_id], sample.image_id))
    return [(s, [confident(each[s.image_id]) for each in found]) for s in ordered[:most] if gap[s.image_id]]


def confident(found: ImageDetections) -> ImageDetections:
    """Return the detections that one would show."""
    kept = found.scores > SHOWN_CONFIDENCE
    return ImageDetections(found.image_id, found.boxes[kept], found.scores[kept], found.classes[kept])


def _mistakes(samples: Sequence[Sample], detections: Sequence[ImageDetections], classes: int) -> dict[int, int]:
    """Return by image id how many objects were missed or taken for another class, or invented."""
    return {
        sample.image_id: int((pairs[:, 0] != pairs[:, 1]).sum())
        for sample, pairs in _matched(samples, detections, classes)
    }


def _matched(
    samples: Sequence[Sample], detections: Sequence[ImageDetections], classes: int
) -> Iterator[tuple[Sample, np.ndarray]]:
    """Yield for each image pairs (n, 2) of classes, there and found; `classes` stands for nothing. Pairs are made by
    overlap, the largest first, whatever the class."""
    by_image = {detection.image_id: detection for detection in detections}
    for sample in samples:
        found = confident(by_image[sample.image_id])
        labels = found.classes.numpy()
        overlap = box_iou(torch.tensor(sample.boxes), found.boxes.float()).numpy()
        there, seen = set(range(len(sample.boxes))), set(range(len(labels)))
        pairs = []
        for place in np.argsort(-overlap, axis=None, kind="stable"):
            row, column = divmod(int(place), len(labels))
            if overlap[row, column] < _IOU:
                break
            if row in there and column in seen:
                there.remove(row)
                seen.remove(column)
                pairs.append((sample.classes[row], labels[column]))
        pairs += [(sample.classes[row], classes) for row in there]
        pairs += [(classes, labels[column]) for column in seen]
        yield sample, np.array(pairs, dtype=np.int64).reshape(-1, 2)
