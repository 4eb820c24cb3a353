"""Checkpoints of the reference implementation become weights of ours, by the order of their tensors."""

import argparse
import collections
import datetime

import pytest
import torch
from safetensors.torch import save_file

from tests.models import checkpoints, golden
from tests.models.test_pickled import archive
from yolab.data.coco_names import COCO_NAMES
from yolab.errors import UsageError
from yolab.models import published_checkpoints, weights, zoo

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
    found = published_checkpoints.read(pickled_vector(vector, tmp_path / "file.pt", names=names))
    detector, about = found.detector, found.spec
    assert about.model.name == vector.split("-", 1)[1]
    assert (about.auxiliary, about.implicit, about.names) == (auxiliary, implicit, tuple(names))
    decoded = detector.decode(detector(golden.image(expected)))
    samples = decoded.flatten()[expected["sample_positions"]]
    torch.testing.assert_close(samples, torch.tensor(expected["sample_values"]), rtol=5e-3, atol=5e-2)  # fp16

    weights.save(detector, about, tmp_path / "file.safetensors")
    again, described = weights.load(tmp_path / "file.safetensors")
    assert described == about
    assert all(torch.equal(a, b) for a, b in zip(again(golden.image(expected)), detector(golden.image(expected))))


def test_anchors_of_its_own_come_with_the_file(tmp_path):
    own = [[[10, 20], [30, 40], [50, 60]]] * 3
    found = published_checkpoints.read(pickled_vector("deploy-yolov7-tiny", tmp_path / "file.pt", anchors=own))
    assert torch.allclose(found.detector.anchors, torch.tensor(own).float(), rtol=0.01)


def test_tensors_by_name_are_read_and_a_name_decides_between_models_of_equal_tensors(tmp_path):
    tensors = golden.weights(golden.read("training-yolov7-tiny"))
    torch.save({"model": tensors}, tmp_path / "file.pt")
    assert published_checkpoints.read(tmp_path / "file.pt").spec.model.name == "yolov7-tiny"
    assert published_checkpoints.read(tmp_path / "file.pt", "yolov7-tiny-silu").spec.model.name == "yolov7-tiny-silu"
    with pytest.raises(UsageError, match="not of yolov7"):
        published_checkpoints.read(tmp_path / "file.pt", "yolov7")


TENSORS = {
    name: value
    for name, value in golden.weights(golden.read("training-yolov7-tiny")).items()
    if not name.endswith("num_batches_tracked")
}


@pytest.mark.parametrize(
    "content",
    [
        TENSORS,
        {"model": TENSORS, "epoch": 3, "loss": torch.ones(())},
        {"model": {"state_dict": TENSORS}, "epoch": 3},
        {"model": {"nc": 80, "depth": 1.0}, "state_dict": TENSORS},
        {"model": {**TENSORS, "args": argparse.Namespace(lr=0.1)}},
        {"model_state_dict": {f"module.{name}": value for name, value in TENSORS.items()}},
        {"ema": {"module": TENSORS, "updates": 7}, "model": None},
        {"net": TENSORS, "args": argparse.Namespace(when=datetime.datetime(2022, 7, 6)), "device": torch.device("cpu")},
        {"state_dict": TENSORS, "history": collections.defaultdict(list, loss=[1.0]), "dtype": torch.float16},
    ],
)
def test_tensors_are_found_wherever_a_checkpoint_has_them(content, tmp_path):
    torch.save(content, tmp_path / "file.pt")
    assert published_checkpoints.read(tmp_path / "file.pt").spec.model.name == "yolov7-tiny"


EIGHTY = [str(number) for number in range(80)]
THINGS = tuple(f"thing {number}" for number in range(80))


@pytest.mark.parametrize(
    ("in_file", "given", "names", "named"),
    [
        (None, None, COCO_NAMES, False),
        (EIGHTY, None, COCO_NAMES, False),
        (dict(enumerate(EIGHTY)), None, COCO_NAMES, False),
        (list(THINGS), None, THINGS, True),
        (dict(reversed(list(enumerate(THINGS)))), None, THINGS, True),
        (EIGHTY, THINGS, THINGS, True),
        (list(THINGS), COCO_NAMES, COCO_NAMES, True),
    ],
)
def test_classes_are_called_as_given_or_as_in_the_file_unless_that_only_numbers_them(
    in_file, given, names, named, tmp_path
):
    torch.save({"model": TENSORS, "names": in_file}, tmp_path / "file.pt")
    found = published_checkpoints.read(tmp_path / "file.pt", class_names=given)
    assert (found.spec.names, found.named) == (names, named)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"epoch": 3}, "holds no model.*it has epoch"),
        ([TENSORS], "holds no model"),
        ({"model": {"nc": 3}}, "holds no model"),
        ({"model": {"a": torch.ones(3, 3)}}, "no model that yolab knows"),
        ({"model": {name: value.char() for name, value in TENSORS.items()}}, "quantised"),
        ({"model": TENSORS, "names": ["cat", "dog"]}, "names for 2 classes, but its tensors are for 80.*--names"),
        ({"model": TENSORS, "names": ["cat", *THINGS[2:], "cat"]}, "two classes 'cat'.*--names"),
        ({"model": TENSORS, "names": ["", *THINGS[1:]]}, "class without a name.*--names"),
    ],
)
def test_what_is_no_detector_with_classes_is_refused_in_a_sentence(content, told, tmp_path):
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(UsageError, match=told):
        published_checkpoints.read(tmp_path / "file.pt")


def test_files_of_other_kinds_are_refused_by_what_they_are(tmp_path):
    save_file({"a.weight": torch.zeros(2, 2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UsageError, match="is a safetensors file"):
        published_checkpoints.read(tmp_path / "foreign.safetensors")
    archive(tmp_path / "program.pt", b"N.", **{"constants.pkl": b"N."})
    with pytest.raises(UsageError, match="TorchScript"):
        published_checkpoints.read(tmp_path / "program.pt")
    with pytest.raises(UsageError, match="Is a directory"):
        published_checkpoints.read(tmp_path)
