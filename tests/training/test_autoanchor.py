"""Anchors that fit the data."""

from pathlib import Path

import numpy as np
import pytest
import torch

from yolab.data.images import ImageFolder
from yolab.data.samples import Sample, Samples
from yolab.experiment import build
from yolab.models.spec import DetectorSpec
from yolab.training import autoanchor


def samples(width: float, height: float) -> Samples:
    """Objects of about one size, far from square, in images of 640 px."""
    random = np.random.default_rng(0)
    found = []
    for number in range(40):
        sides = np.array([width, height]) * random.uniform(0.7, 1.4, 2)
        boxes = np.concatenate([np.zeros(2), sides]).astype(np.float32)[None]
        found.append(Sample(ImageFolder(Path()), "", number, 640, 480, boxes, np.zeros(1, np.int64)))
    return Samples.of(found)


def described(**recipe: object):
    values = {"name": "x", "model": {"name": "yolov7-tiny"}, "recipe": recipe}
    experiment = build(values, {}, "test")
    return DetectorSpec.of(experiment, ("a",)), experiment


def test_anchors_that_miss_the_boxes_are_replaced_by_some_that_fit():
    about, experiment = described()
    bars = samples(400, 8)
    new = autoanchor.with_fitting_anchors(about, bars, experiment)
    assert new.anchors is not None
    boxes = torch.tensor([[400.0, 8.0]])
    assert autoanchor.recall(boxes, about.blueprint().anchors, 4.0) == 0
    assert autoanchor.recall(boxes, new.anchors, 4.0) == 1
    assert new == autoanchor.with_fitting_anchors(about, bars, experiment)
    areas = [width * height for level in new.anchors for width, height in level]
    assert areas == sorted(areas)
    (told,) = autoanchor.warnings(about, bars, experiment)
    assert "can reach 0.0% of the boxes" in told
    assert "fitted to the data, which can reach 100.0%" in told


@pytest.mark.parametrize(("recipe", "size"), [({"autoanchor": False}, (400, 8)), ({}, (60, 50))])
def test_anchors_stay_where_they_fit_or_are_meant_to(recipe, size):
    about, experiment = described(**recipe)
    assert autoanchor.with_fitting_anchors(about, samples(*size), experiment) is about
