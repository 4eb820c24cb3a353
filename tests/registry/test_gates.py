"""The gates let an equal model pass and stop one that is not."""

from pathlib import Path

import numpy as np
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


def evidence(trained: Detector, folded: Detector, small_set: Path, **known: dict[str, float]) -> gates.Evidence:
    found = gates.Evidence(trained, folded, coco.load(small_set, "val2017"), np.arange(2), 64, 0.6)
    vars(found).update(known)  # what has been measured
    return found


def test_a_folded_model_passes_and_one_with_a_changed_weight_does_not(model, small_set):
    folded = fold(model)
    assert gates.folded_outputs_are_equal(evidence(model, folded, small_set)).passed
    folded.head.output(0).bias.data += 0.01
    verdict = gates.folded_outputs_are_equal(evidence(model, folded, small_set))
    assert not verdict.passed
    assert "relative difference" in verdict.measured


def test_ap_may_move_by_a_thousandth_at_most(model, small_set):
    def moved(before: float, after: float) -> gates.Evidence:
        return evidence(model, model, small_set, before={"ap": before}, after={"ap": after})

    assert gates.ap_did_not_move(moved(0.5, 0.5005)).passed
    assert not gates.ap_did_not_move(moved(0.5, 0.498)).passed


def test_ap50_has_to_reach_what_is_asked():
    assert gates.verdict_on_ap50({"ap50": 0.6}, 0.6).passed
    assert not gates.verdict_on_ap50({"ap50": 0.59}, 0.6).passed


def test_each_gate_says_what_it_asks_and_all_pass_for_a_sound_model(model, small_set):
    found = evidence(model, fold(model), small_set, after={"ap": 0.5, "ap50": 0.7}, before={"ap": 0.5})
    assert all(gate.help and gate.check(found).passed for gate in gates.GATES.values())
