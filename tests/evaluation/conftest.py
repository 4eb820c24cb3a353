"""Fixtures for the tests of evaluation."""

from pathlib import Path

import numpy as np
import pytest
import torch

from yolab.data.coco import Dataset
from yolab.data.images import ImageFolder
from yolab.data.samples import Sample, Samples, Truth
from yolab.evaluation.detect import ImageDetections


@pytest.fixture(scope="session")
def scored() -> tuple[Dataset, list[ImageDetections]]:
    """Forty images with 3 to 8 objects, and detections that are the objects, moved, with some inventions."""
    random = np.random.default_rng(0)
    samples, truth, detections = [], [], []
    for image_id in range(1, 41):
        count = random.integers(3, 9)
        low = random.uniform(0, 300, (count, 2))
        boxes = np.concatenate([low, low + random.uniform(8, 200, (count, 2))], 1).astype(np.float32)
        classes = random.integers(0, 3, count)
        samples.append(Sample(ImageFolder(Path()), "", image_id, 640, 640, boxes, classes))
        for box, label in zip(boxes, classes):
            sides = [*map(float, box[:2]), *map(float, box[2:] - box[:2])]
            area = sides[2] * sides[3]
            crowd = int(random.random() < 0.05)
            values = {"id": len(truth) + 1, "image_id": image_id, "category_id": [3, 7, 90][label]}
            truth.append(values | {"bbox": sides, "area": area, "iscrowd": crowd})
        moved = boxes + random.normal(0, 6, boxes.shape).astype(np.float32)
        order = np.argsort(-random.random(count))
        scores = torch.from_numpy(np.sort(random.random(count))[::-1].copy())
        detections.append(
            ImageDetections(image_id, torch.from_numpy(moved[order]), scores, torch.from_numpy(classes[order]))
        )
    dataset = Dataset(Path(), "val", Samples.of(samples), (3, 7, 90), ("a", "b", "c"), Truth.of(truth), {})
    return dataset, detections
