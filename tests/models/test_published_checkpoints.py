"""Checkpoints of the reference implementation become weights of ours, by the order of their tensors."""

import pytest
import torch

from tests.models import checkpoints, golden
from yolab.errors import UsageError
from yolab.experiment import Model
from yolab.models import published_checkpoints, weights, zoo
from yolab.models.spec import DetectorSpec

ACTIVATIONS = {"silu": torch.nn.SiLU(), "leaky_relu": torch.nn.LeakyReLU(0.1)}


def pickled_vector(vector, path, anchors=None, **about):
    """Write the tensors of a golden vector as the reference would have pickled them."""
    expected, blueprint = golden.read(vector), zoo.find(vector.split("-", 1)[1])
    drawn, tensors = golden.weights(expected), {}
    anchors = torch.tensor(anchors or blueprint.anchors).float()
    strides = torch.tensor([8, 16, 32, 64][: len(anchors)]).view(-1, 1, 1)
    for name, shape in expected["keys"]:
        if name.endswith("anchors"):
            tensors[name] = anchors / strides
        else:
            tensors[name] = drawn.get(name, torch.zeros(shape, dtype=torch.int64))
    return checkpoints.write(path, tensors, ACTIVATIONS[blueprint.activation], **about)


@pytest.mark.parametrize(
    ("vector", "auxiliary", "implicit"),
    [
        ("training-yolov7-tiny", False, True),
        ("deploy-yolov7-tiny-silu", False, False),
        ("training-yolov7", False, True),
        ("deploy-yolov7", False, False),
        pytest.param("training-yolov7-w6", True, True, marks=pytest.mark.acceptance),
    ],
)
@torch.no_grad()
def test_the_model_is_recognised_and_gives_the_outputs_of_the_reference(vector, auxiliary, implicit, tmp_path):
    expected = golden.read(vector)
    names = [f"thing {number}" for number in range(80)]
    detector, about = published_checkpoints.read(pickled_vector(vector, tmp_path / "file.pt", names=names))
    assert about.model.name == vector.split("-", 1)[1]
    assert (about.auxiliary, about.implicit, about.names) == (auxiliary, implicit, tuple(names))
    decoded = detector.decode(detector(golden.image(expected)))
    samples = decoded.flatten()[expected["sample_positions"]]
    torch.testing.assert_close(samples, torch.tensor(expected["sample_values"]), rtol=5e-3, atol=5e-2)  # fp16

    weights.save(detector, about, tmp_path / "file.safetensors")
    again, described = weights.load(tmp_path / "file.safetensors")
    assert described == about
    assert all(torch.equal(a, b) for a, b in zip(again(golden.image(expected)), detector(golden.image(expected))))


def test_anchors_of_its_own_and_class_names_come_with_the_file(tmp_path):
    own = [[[10, 20], [30, 40], [50, 60]]] * 3
    detector, about = published_checkpoints.read(
        pickled_vector("deploy-yolov7-tiny", tmp_path / "file.pt", anchors=own)
    )
    assert torch.allclose(detector.anchors, torch.tensor(own).float(), rtol=0.01)
    assert about.names[:2] == ("person", "bicycle")


def test_tensors_by_name_are_read_and_a_name_decides_between_models_of_equal_tensors(tmp_path):
    tensors = golden.weights(golden.read("training-yolov7-tiny"))
    torch.save({"model": tensors}, tmp_path / "file.pt")
    assert published_checkpoints.read(tmp_path / "file.pt")[1].model.name == "yolov7-tiny"
    assert published_checkpoints.read(tmp_path / "file.pt", "yolov7-tiny-silu")[1].model.name == "yolov7-tiny-silu"
    with pytest.raises(UsageError, match="not of yolov7"):
        published_checkpoints.read(tmp_path / "file.pt", "yolov7")


def test_a_file_without_a_model_or_of_an_unknown_one_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(UsageError, match="holds no model"):
        published_checkpoints.read(tmp_path / "empty.pt")
    torch.save({"model": {"a": torch.ones(3, 3)}}, tmp_path / "other.pt")
    with pytest.raises(UsageError, match="no model that yolab knows"):
        published_checkpoints.read(tmp_path / "other.pt")


def test_transfer_keeps_what_fits_and_names_what_does_not():
    source = DetectorSpec(Model(name="yolov7-tiny"), ("a", "b", "c"), 64).build()
    target = DetectorSpec(Model(name="yolov7-tiny"), ("a", "b"), 64).build()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    fresh = weights.unlike(source, target)
    weights.transfer(source, target)
    after = target.state_dict()
    assert {name.split(".")[1] for name in fresh} == {"outputs", "multiply"}
    assert all(torch.equal(after[name], before[name]) for name in fresh)
    assert all(torch.equal(after[name], value) for name, value in source.state_dict().items() if name not in fresh)
