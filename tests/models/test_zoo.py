"""The models against the published counts and the outputs of the reference implementation."""

import pytest
import torch

from tests.models import golden
from yolab.experiment import Scale
from yolab.models import zoo
from yolab.models.blueprint import deployed, scaled
from yolab.models.count import cost
from yolab.models.detector import Detector
from yolab.models.fold import fold

EXACT = {  # parameters of the trained graph, of the folded deploy graph, GFLOPs
    "yolov7-tiny": (6_228_762, 6_219_709, 13.70),
    "yolov7-tiny-silu": (6_228_762, 6_219_709, 13.70),
    "yolov7": (37_622_682, 36_905_341, 104.51),
    "yolov7x": (71_347_394, 71_311_741, 189.67),
    "yolov7-w6": (82_312_436, 70_394_300, 359.72),
    "yolov7-e6": (111_898_292, 97_202_940, 514.43),
    "yolov7-d6": (154_709_364, 133_757_052, 701.74),
    "yolov7-e6e": (166_408_884, 151_687_420, 842.18),
    "yolor-csp": (52_923_994, 52_889_053, 120.24),
    "yolov4-csp": (52_921_437, 52_889_053, 120.24),
    "yolor-csp-x": (96_943_410, 96_892_725, 226.52),
    "yolor-p6": (37_265_016, 37_230_012, 325.12),
    "yolor-w6": (79_873_400, 79_824_444, 452.65),
    "yolor-e6": (115_899_960, 115_835_900, 682.12),
    "yolor-d6": (151_773_240, 151_692_540, 934.43),
    "yolov3": (61_949_149, 61_922_845, 155.89),
    "yolov3-spp": (62_998_749, 62_971_933, 156.73),
    "r50-csp": (34_299_578, 34_267_581, 65.15),
    "x50-csp": (32_299_962, 32_261_885, 60.27),
}


@pytest.mark.parametrize("name", EXACT)
def test_counts_equal_those_of_the_reference(name):
    params, params_fused, gflops = EXACT[name]
    blueprint = zoo.find(name)
    counted = cost(blueprint, classes=80, image_size=blueprint.image_size)
    assert (counted.params, counted.params_fused) == (params, params_fused)
    assert counted.gflops == pytest.approx(gflops, abs=0.005)


@pytest.mark.parametrize("name", zoo.PUBLISHED)
def test_counts_round_to_the_published_figures(name):
    published, blueprint = zoo.PUBLISHED[name], zoo.find(name)
    counted = cost(blueprint, 80, published.image_size)
    params = counted.params if published.graph == "trained" else counted.params_fused
    assert round(params / 1e6, 1) == pytest.approx(published.params_millions)
    if name != "yolov7-d6":  # its figure counts the unfolded graph with its auxiliary branch
        rounds = round(counted.gflops, 1) == published.gflops
        near = 0.01 if name in EXACT else 0.005  # what is published counts other operations than convolutions, too
        assert rounds or counted.gflops == pytest.approx(published.gflops, rel=near)


@pytest.mark.parametrize(
    ("scale", "params_fused", "gflops"),
    [
        (Scale(), 47_045_245, 125.27),
        (Scale(width=1.25, hidden=1.25), 73_356_765, 195.06),
        (Scale(depth=2), 69_285_757, 187.14),
        (Scale(depth=1.5, width=1.25), 71_311_741, 189.67),
    ],
)
def test_the_rows_of_table_3_come_out_of_v7x_light_by_scaling(scale, params_fused, gflops):
    counted = cost(scaled(zoo.find("yolov7x-light"), scale), 80, 640)
    assert counted.params_fused == params_fused
    assert counted.gflops == pytest.approx(gflops, abs=0.005)


def _vectors() -> list:
    """All golden vectors; those of large models, which take seconds each, with the acceptance tests."""
    names = sorted(path.name.removeprefix("model-").removesuffix(".json.gz") for path in golden.GOLDEN.glob("model-*"))
    large = {name for name, (params, _, _) in EXACT.items() if params > 60e6}
    return [
        pytest.param(name, marks=[pytest.mark.acceptance] if name.split("-", 1)[1] in large else []) for name in names
    ]


@pytest.mark.parametrize("vector", _vectors())
@torch.no_grad()
def test_outputs_equal_the_reference_before_and_after_folding(vector):
    expected = golden.read(vector)
    graph, name = vector.split("-", 1)
    blueprint = zoo.find(name)
    model = Detector(deployed(blueprint) if graph == "deploy" else blueprint, classes=80).eval()
    golden.load_in_order(model, golden.weights(expected))
    images = golden.image(expected)

    for detector in (model, fold(model)):
        decoded = detector.decode(detector(images))
        assert list(decoded.shape) == expected["decoded_shape"]
        samples = decoded.flatten()[expected["sample_positions"]]
        torch.testing.assert_close(samples, torch.tensor(expected["sample_values"]), rtol=1e-3, atol=1e-3)
        assert decoded.mean().item() == pytest.approx(expected["mean"], rel=1e-3)
        assert decoded.std().item() == pytest.approx(expected["std"], rel=1e-3)
