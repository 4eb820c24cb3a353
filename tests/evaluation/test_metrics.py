"""Suppression and COCO metrics, against the libraries' own answers."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolab.data.images import ImageFolder
from yolab.data.samples import Sample
from yolab.errors import UsageError
from yolab.evaluation import confusion, detections_file
from yolab.evaluation.detect import ImageDetections
from yolab.evaluation.metrics import score, to_coco
from yolab.models.suppression import suppress
from yolab.reports.evaluation_figures import save_report


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
    ours = score(dataset, detections)
    assert 0.05 < ours.metrics["ap"] < 0.95
    np.testing.assert_allclose(list(ours.metrics.values()), oracle.stats, atol=1e-9)
    by_class = oracle.eval["precision"][..., 0, -1].mean((0, 1))
    np.testing.assert_allclose(ours.class_ap, by_class, atol=1e-9)
    assert ours.by_class(dataset.names)["ap/b"] == pytest.approx(by_class[1])
    np.testing.assert_allclose(ours.precision[2], oracle.eval["precision"][0, :, 2, 0, -1], atol=1e-9)


def test_metrics_of_no_detection_are_zero(scored):
    assert set(score(scored[0], []).metrics.values()) == {0.0}


def test_kept_detections_are_the_same_again(scored, tmp_path):
    _, detections = scored
    nothing = ImageDetections(999, torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    detections_file.save([*detections, nothing], tmp_path / "detections.parquet")
    again = detections_file.load(tmp_path / "detections.parquet")
    assert [found.image_id for found in again] == [*range(1, 41), 999]
    for ours, theirs in zip(again, [*detections, nothing]):
        for part in ("boxes", "scores", "classes"):
            torch.testing.assert_close(getattr(ours, part), getattr(theirs, part), check_dtype=False)


def test_confusion_counts_what_was_found_as_what():
    objects = np.array([[0, 0, 10, 10], [50, 50, 70, 70], [100, 100, 120, 120]], np.float32)
    sample = Sample(ImageFolder(Path()), "", 1, 640, 640, objects, np.array([0, 1, 2]))
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 70, 71], [300, 300, 320, 320], [100, 100, 120, 120]])
    found = ImageDetections(1, boxes, torch.tensor([0.9, 0.8, 0.7, 0.2]), torch.tensor([0, 2, 1, 2]))
    right = Sample(ImageFolder(Path()), "", 2, 640, 640, objects[:1], np.array([0]))
    fine = ImageDetections(2, boxes[:1], torch.tensor([0.9]), torch.tensor([0]))
    counts = confusion.confusion([right, sample], [fine, found], 3)
    expected = np.zeros((4, 4), int)
    expected[0, 0], expected[1, 2], expected[2, 3], expected[3, 1] = 2, 1, 1, 1
    np.testing.assert_array_equal(counts, expected)
    ((image, shown),) = confusion.worst([right, sample], [fine, found], 3, most=5)
    assert image is sample
    assert len(shown.scores) == 3


def test_the_matrix_shows_its_counts(scored, tmp_path):
    dataset, _ = scored
    detections = [
        ImageDetections(s.image_id, torch.tensor(s.boxes), torch.ones(len(s.boxes)), torch.tensor(s.classes))
        for s in dataset.samples
    ]
    save_report(dataset, detections, score(dataset, detections), tmp_path)
    drawn = (tmp_path / "confusion.html").read_text()
    counts = confusion.confusion(dataset.samples, detections, 3).tolist()
    assert f'"text":{json.dumps(counts, separators=(",", ":"))},"texttemplate":"%{{text}}"' in drawn


def test_categories_are_those_of_the_data_set(scored):
    assert {row["category_id"] for row in to_coco(*scored)} == {3, 7, 90}


def test_suppression_keeps_the_best_of_overlapping_boxes_of_a_class_alone():
    #                      centre and size        objectness, classes
    boxes = torch.tensor(
        [[50, 50, 20, 20, 0.9, 0.9, 0.01], [51, 50, 20, 20, 0.8, 0.9, 0.01], [50, 50, 20, 20, 0.9, 0.01, 0.8]]
    )
    (detections_file,) = suppress(boxes[None], confidence=0.1, iou=0.65)
    assert detections_file[:, 5].tolist() == [0, 1]
    torch.testing.assert_close(detections_file[:, 4], torch.tensor([0.81, 0.72]))
    assert detections_file[0, :4].tolist() == [40, 40, 60, 60]


def test_a_box_may_carry_several_classes_and_an_image_nothing():
    two_classes = torch.tensor([[50, 50, 20, 20, 1.0, 0.9, 0.8]])
    nothing = torch.tensor([[50, 50, 20, 20, 0.0, 0.9, 0.8]])
    found = suppress(torch.stack([two_classes, nothing]), confidence=0.001, iou=0.65)
    assert [len(rows) for rows in found] == [2, 0]


def test_detections_say_their_version_and_those_of_a_newer_yolab_are_refused(scored, tmp_path):
    path = tmp_path / "detections.parquet"
    detections_file.save(scored[1], path)
    table = pq.read_table(path)
    assert json.loads(table.schema.metadata[b"yolab"]) == {"format": 1}
    pq.write_table(table.replace_schema_metadata(None), path)  # as from before there were versions
    assert len(detections_file.load(path)) == 40
    pq.write_table(table.replace_schema_metadata({"yolab": json.dumps({"format": 2})}), path)
    with pytest.raises(UsageError, match="newer yolab"):
        detections_file.load(path)
