"""The gates let an equal model pass and stop one that is not."""

from pathlib import Path

import pytest
import torch

from yolab.data import coco
from yolab.experiment import Scale
from yolab.models import zoo
from yolab.models.blueprint import scaled
from yolab.models.detector import Detector
from yolab.models.fold import fold
from yolab.registry import gates


@pytest.fixture
def model() -> Detector:
    torch.manual_seed(0)
    return Detector(scaled(zoo.find("yolov7-tiny"), Scale(width=0.125, hidden=0.125)), classes=2).eval()


def test_a_folded_model_passes_and_one_with_a_changed_weight_does_not(model, small_set):
    dataset = coco.load(Path(small_set), "val2017")
    folded = fold(model)
    assert gates.folded_outputs_are_equal(model, folded, dataset, 64).passed
    folded.head.output(0).bias.data += 0.01
    verdict = gates.folded_outputs_are_equal(model, folded, dataset, 64)
    assert not verdict.passed
    assert "relative difference" in verdict.measured


def test_ap_may_move_by_a_thousandth_at_most():
    assert gates.ap_did_not_move({"ap": 0.5}, {"ap": 0.5005}).passed
    assert not gates.ap_did_not_move({"ap": 0.5}, {"ap": 0.498}).passed


def test_ap50_has_to_reach_what_is_asked():
    assert gates.ap50_is_enough({"ap50": 0.6}, 0.6).passed
    assert not gates.ap50_is_enough({"ap50": 0.59}, 0.6).passed
