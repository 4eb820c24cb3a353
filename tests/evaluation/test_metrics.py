"""Suppression and COCO metrics, against the libraries' own answers."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolab.data.coco import Dataset, Sample
from yolab.evaluation.detect import ImageDetections, suppress
from yolab.evaluation.metrics import METRICS, coco_metrics, to_coco


@pytest.fixture(scope="module")
def scored() -> tuple[Dataset, list[ImageDetections]]:
    """Forty images with 3 to 8 objects, and detections that are the objects, moved, with some inventions."""
    random = np.random.default_rng(0)
    samples, truth, detections = [], [], []
    for image_id in range(1, 41):
        count = random.integers(3, 9)
        low = random.uniform(0, 300, (count, 2))
        boxes = np.concatenate([low, low + random.uniform(8, 200, (count, 2))], 1).astype(np.float32)
        classes = random.integers(0, 3, count)
        samples.append(Sample(Path(), image_id, 640, 640, boxes, classes))
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
    dataset = Dataset(Path(), "val", Path(), tuple(samples), (3, 7, 90), ("a", "b", "c"), tuple(truth), {})
    return dataset, detections


def test_metrics_equal_pycocotools(scored):
    dataset, detections = scored
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset.ground_truth() | {"info": {}}
        truth.createIndex()
        oracle = COCOeval(truth, truth.loadRes(to_coco(dataset, detections)), "bbox")
        oracle.evaluate()
        oracle.accumulate()
        oracle.summarize()
    ours = coco_metrics(dataset, detections)
    assert 0.05 < ours["ap"] < 0.95
    np.testing.assert_allclose([ours[name] for name in METRICS], oracle.stats[:6], atol=1e-9)


def test_metrics_of_no_detection_are_zero(scored):
    assert coco_metrics(scored[0], []) == dict.fromkeys(METRICS, 0.0)


def test_categories_are_those_of_the_data_set(scored):
    assert {row["category_id"] for row in to_coco(*scored)} == {3, 7, 90}


def test_suppression_keeps_the_best_of_overlapping_boxes_of_a_class_alone():
    #                      centre and size        objectness, classes
    boxes = torch.tensor(
        [[50, 50, 20, 20, 0.9, 0.9, 0.01], [51, 50, 20, 20, 0.8, 0.9, 0.01], [50, 50, 20, 20, 0.9, 0.01, 0.8]]
    )
    (kept,) = suppress(boxes[None], confidence=0.1, iou=0.65)
    assert kept[:, 5].tolist() == [0, 1]
    torch.testing.assert_close(kept[:, 4], torch.tensor([0.81, 0.72]))
    assert kept[0, :4].tolist() == [40, 40, 60, 60]


def test_a_box_may_carry_several_classes_and_an_image_nothing():
    two_classes = torch.tensor([[50, 50, 20, 20, 1.0, 0.9, 0.8]])
    nothing = torch.tensor([[50, 50, 20, 20, 0.0, 0.9, 0.8]])
    found = suppress(torch.stack([two_classes, nothing]), confidence=0.001, iou=0.65)
    assert [len(rows) for rows in found] == [2, 0]
