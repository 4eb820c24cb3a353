"""The models against the published counts and the outputs of the reference implementation."""

from dataclasses import replace

import pytest
import torch

from tests.models import golden
from yolab.models import zoo
from yolab.models.count import cost
from yolab.models.detector import Detector
from yolab.models.fold import fold


@pytest.mark.parametrize(
    ("name", "params", "params_fused", "gflops"),
    [
        ("yolov7-tiny", 6_228_762, 6_219_709, 13.70),
        ("yolov7-tiny-silu", 6_228_762, 6_219_709, 13.70),
        ("yolov7", 37_622_682, 36_905_341, 104.51),
    ],
)
def test_counts_equal_the_published_ones(name, params, params_fused, gflops):
    counted = cost(zoo.find(name), classes=80, image_size=640)
    assert (counted.params, counted.params_fused) == (params, params_fused)
    assert counted.gflops == pytest.approx(gflops, abs=0.005)


@pytest.mark.parametrize(
    ("vector", "name", "implicit"),
    [
        ("training-yolov7-tiny", "yolov7-tiny", True),
        ("deploy-yolov7-tiny", "yolov7-tiny", False),
        ("deploy-yolov7-tiny-silu", "yolov7-tiny-silu", False),
        ("training-yolov7", "yolov7", True),
        ("deploy-yolov7", "yolov7", False),
    ],
)
@torch.no_grad()
def test_outputs_equal_the_reference_before_and_after_folding(vector, name, implicit):
    expected = golden.read(vector)
    model = Detector(replace(zoo.find(name), implicit=implicit), classes=80).eval()
    golden.load_in_order(model, golden.weights(expected))
    images = golden.image(expected)

    for detector in (model, fold(model)):
        decoded = detector.decode(detector(images))
        assert list(decoded.shape) == expected["decoded_shape"]
        samples = decoded.flatten()[expected["sample_positions"]]
        torch.testing.assert_close(samples, torch.tensor(expected["sample_values"]), rtol=1e-3, atol=1e-3)
        assert decoded.mean().item() == pytest.approx(expected["mean"], rel=1e-3)
        assert decoded.std().item() == pytest.approx(expected["std"], rel=1e-3)
