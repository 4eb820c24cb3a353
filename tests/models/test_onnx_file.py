"""ONNX files answer as the detector that they were made of."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from yolab.errors import UsageError
from yolab.experiment import Model, Scale
from yolab.models import onnx_file
from yolab.models.fold import fold
from yolab.models.spec import DetectorSpec
from yolab.models.suppression import suppress

FAMILIES = ("yolov7", "yolov7x", "yolov7-e6e", "yolor-csp", "yolor-d6", "x50-csp", "yolov3-spp", "yolov4-tiny")


def small(name: str) -> tuple:
    torch.manual_seed(0)
    about = DetectorSpec(Model(name=name, scale=Scale(width=0.125, hidden=0.125)), ("box", "disc"), 64, auxiliary=True)
    return about.build().eval(), about


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The file of a small yolov7-tiny that finds many objects, of many scores, with suppression; it takes seconds."""
    detector, about = small("yolov7-tiny")
    for level in detector.head.outputs:
        level.weight.data *= 50
        level.bias.data += 4
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx_file.export(detector, about, path, {}, nms=True)
    return path


@pytest.mark.parametrize(
    "name", ["yolov7-tiny", *(pytest.param(name, marks=pytest.mark.acceptance) for name in FAMILIES)]
)
@torch.no_grad()
def test_onnxruntime_equals_torch_for_any_batch_and_size_and_the_file_tells_what_it_is(name, tmp_path):
    detector, about = small(name)
    path = tmp_path / "model.onnx"
    assert onnx_file.export(detector, about, path, {"run": "r1"}, nms=False) < 1e-3
    loaded, described = onnx_file.load(path)
    assert described == about
    stride = max(detector.strides)
    for batch, rows, columns in ((1, 1, 2), (3, 2, 1)):
        images = torch.rand(batch, 3, rows * stride, columns * stride)
        torch.testing.assert_close(loaded.predict(images), fold(detector).predict(images), rtol=1e-3, atol=1e-3)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(metadata["names"]) == ["box", "disc"]
    assert (metadata["stride"], metadata["image_size"], metadata["lineage.run"]) == (str(stride), "64", "r1")


@torch.no_grad()
def test_suppression_in_the_graph_finds_the_same_boxes_as_outside(exported):
    session = onnxruntime.InferenceSession(exported)
    images = torch.rand(2, 3, 64, 96)
    given = {"images": images.numpy(), "confidence": torch.tensor([0.1]).numpy(), "iou": torch.tensor([0.5]).numpy()}
    found, predictions = session.run(["detections", "predictions"], given)
    expected = suppress(torch.from_numpy(predictions), confidence=0.1, iou=0.5)
    for image, boxes in enumerate(expected):
        own = torch.from_numpy(found[found[:, 0] == image, 1:])
        assert len(own) == len(boxes) > 10
        distance = (own[:, None] - boxes[None]).abs().amax(-1)
        assert distance.amin(0).max() < 0.01
        assert distance.amin(1).max() < 0.01


@torch.no_grad()
def test_a_half_file_answers_almost_as_torch_does(tmp_path):
    detector, about = small("yolov7-tiny")
    for level in detector.head.outputs:
        level.weight *= 50  # scores of all sizes
    path = tmp_path / "half.onnx"
    assert 1e-6 < onnx_file.export(detector, about, path, {}, half=True) < 0.01
    weights = [tensor for tensor in onnx.load(path).graph.initializer if len(tensor.raw_data) > 1000]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.FLOAT16}
    images = torch.rand(2, 3, 64, 96)
    loaded, _ = onnx_file.load(path)
    torch.testing.assert_close(loaded.predict(images), fold(detector).predict(images), rtol=0.01, atol=0.01)


@torch.no_grad()
def test_a_static_file_of_another_opset_takes_images_of_its_size_and_smaller_ones_in_grey(tmp_path):
    detector, about = small("yolov7-tiny")
    path = tmp_path / "static.onnx"
    assert onnx_file.export(detector, about, path, {}, nms=True, opset=18, static=True) < 1e-3
    model = onnx.load(path)
    assert model.opset_import[0].version == 18
    assert [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 64, 64]
    loaded, _ = onnx_file.load(path)
    images = torch.rand(2, 3, 64, 32)
    padded = torch.nn.functional.pad(images, (0, 32), value=114 / 255)
    torch.testing.assert_close(loaded.predict(images), fold(detector).predict(padded), rtol=1e-3, atol=1e-3)
    with pytest.raises(UsageError, match="say --size 64"):
        loaded.predict(torch.rand(1, 3, 96, 64))


def test_an_opset_that_nothing_runs_is_refused(tmp_path):
    for opset in (11, 25):
        with pytest.raises(UsageError, match="take one from 18 to 24"):
            onnx_file.export(*small("yolov7-tiny"), tmp_path / "model.onnx", {}, opset=opset)
    assert not list(tmp_path.iterdir())


def test_a_file_whose_description_or_graph_is_damaged_is_refused_in_words(exported, tmp_path):
    _, about = onnx_file.load(exported)
    model, path = onnx.load(exported), tmp_path / "model.onnx"
    onnx.helper.set_model_props(model, {"yolab": replace(about, names=("box",)).to_json()})
    onnx.save(model, path)
    with pytest.raises(UsageError, match=r"should take `images` and give `predictions` of 6 values"):
        onnx_file.load(path)
    for said, told in (({"yolab": "[1]"}, "no JSON mapping"), ({"names": "[]"}, "doesn't say which model")):
        onnx.helper.set_model_props(model, said)
        onnx.save(model, path)
        with pytest.raises(UsageError, match=told):
            onnx_file.load(path)


def test_a_file_of_another_kind_is_refused_in_words(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UsageError, match="Can't read the model"):
        onnx_file.load(tmp_path / "text.onnx")
    with pytest.raises(UsageError, match="no model at"):
        onnx_file.load(tmp_path / "absent.onnx")
