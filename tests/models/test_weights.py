"""Weights on disk: which detector they say that they are of, in which version of the form."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from yolab.errors import UsageError
from yolab.experiment import Model, Scale
from yolab.models import source, weights
from yolab.models.spec import DetectorSpec

SPEC = DetectorSpec(Model(name="yolov7-tiny", scale=Scale(width=0.125, hidden=0.125)), ("box", "disc"), 64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    weights.save(SPEC.build(), SPEC, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def said_in(file: Path) -> dict:
    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["yolab"])


def say(file: Path, said: dict) -> None:
    save_file(load_file(file), file, metadata={"yolab": json.dumps(said)})


def test_a_file_says_its_version_and_one_from_before_there_were_versions_is_read(file: Path) -> None:
    said = said_in(file)
    assert said.pop("format") == 1
    say(file, said)
    _, spec = weights.load(file)
    assert spec == SPEC


def test_a_file_of_a_newer_yolab_is_refused_in_a_sentence(file: Path) -> None:
    say(file, said_in(file) | {"format": 2, "something": "new"})
    with pytest.raises(UsageError, match=r"weights.safetensors was written by a newer yolab"):
        source.open_file(file)


def test_tensors_that_are_not_the_described_models_are_refused_by_what_differs(file: Path) -> None:
    said, tensors = said_in(file), load_file(file)
    name = "nodes.stem.conv.weight"
    for changed, told in (
        ({key: value for key, value in tensors.items() if key != name}, f"it lacks: {name}"),
        (tensors | {"more": torch.ones(1)}, "it has too many: more"),
        (tensors | {name: torch.ones(1, 3, 3, 3)}, rf"{name} is \(1, 3, 3, 3\) float32, not \(8, 3, 3, 3\) float32"),
        (tensors | {name: tensors[name].half()}, rf"{name} is \(8, 3, 3, 3\) float16, not"),
    ):
        save_file(changed, file, metadata={"yolab": json.dumps(said)})
        with pytest.raises(UsageError, match=told):
            weights.load(file)


def changed(**changes: object) -> str:
    return json.dumps(json.loads(SPEC.to_json()) | changes)


def without(key: str) -> str:
    return json.dumps({name: value for name, value in json.loads(SPEC.to_json()).items() if name != key})


DAMAGED = {
    "empty": ("", "no JSON mapping"),
    "no JSON": ("hello", "no JSON mapping"),
    "a list": ("[1]", "no JSON mapping"),
    "a number": ("5", "no JSON mapping"),
    "deep": ("[" * 200_000, "no JSON mapping"),
    "long": ("1" * 5000, "no JSON mapping"),
    "half a character": (changed(names=["\ud800", "b"]), "Invalid JSON"),
    "nothing in it": ("{}", "model is missing"),
    "no names": (without("names"), "names is missing"),
    "no size": (without("image_size"), "image_size is missing"),
    "no class": (changed(names=[]), "at least 1"),
    "names as one text": (changed(names="box"), "names can't be 'box'"),
    "names as numbers": (changed(names=[1, 2]), "names.0 can't be 1"),
    "names by number": (changed(names={"0": "box"}), "names can't be {'0': 'box'}"),
    "size as text": (changed(image_size="64"), "image_size can't be '64'"),
    "size below zero": (changed(image_size=-64), "image_size can't be -64"),
    "huge size": (changed(image_size=10**30), "image_size can't be 10+ "),
    "size that is no number": (changed(image_size=float("nan")), "image_size can't be nan"),
    "unknown model": (changed(model={"name": "yolov9"}), "no model yolov9"),
    "model as text": (changed(model="yolov7"), "model can't be 'yolov7'"),
    "huge scale": (
        changed(model={"name": "yolov7", "scale": {"width": 1e9}}),
        "model.scale.width can't be 1000000000.0",
    ),
    "activation of none": (changed(model={"name": "yolov7", "activation": "tanh"}), "model.activation can't be 'tanh'"),
    "no anchors at all": (changed(anchors=[]), "other anchors than 3 at each of 3 levels"),
    "an anchor": (changed(anchors=[1, 2]), "anchors.0 can't be 1"),
    "anchors of a level": (changed(anchors=[[[1, 2]] * 3]), "other anchors than 3 at each of 3 levels"),
    "anchors of no size": (changed(anchors=[[[0, 2]] * 3] * 3), "anchors.0.0.0 can't be 0"),
    "endless anchors": (changed(anchors=[[[float("inf"), 2]] * 3] * 3), "anchors.0.0.0 can't be inf"),
    "folded as a number": (changed(folded=1), "folded can't be 1"),
    "more": (changed(more=1), "more can't be 1"),
    "newer": (changed(format=2, more=1), "was written by a newer yolab"),
    "odd version": (changed(format=[1] * 1000), "format is no number"),
}


@pytest.mark.parametrize(("said", "told"), DAMAGED.values(), ids=DAMAGED)
def test_a_description_that_can_not_be_is_refused_in_a_sentence(said: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        DetectorSpec.from_json(said, "the file")
    assert "the file" in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_description_is_read_as_it_was_written() -> None:
    anchors = tuple(tuple((1.0 + level, 2.0 + number) for number in range(3)) for level in range(3))
    for spec in (SPEC, replace(SPEC, anchors=anchors, folded=True, implicit=False)):
        assert DetectorSpec.from_json(spec.to_json(), "the file") == spec


def test_the_lineage_of_a_file_is_its_content(file: Path) -> None:
    assert source.lineage_of(file) == {"weights": file.name, "weights_sha256": weights.fingerprint(file)}


def test_transfer_copies_what_fits_and_the_classes_by_their_names() -> None:
    wider = DetectorSpec(Model(name="yolov7-tiny", scale=Scale(width=0.25, hidden=0.125)), ("box",), 64)
    target = SPEC.build()
    assert "nodes.down2.conv.weight" in weights.unlike(wider.build(), target)

    source = DetectorSpec(SPEC.model, ("ring", "box", "star"), 64).build()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    assert weights.unlike(source, target) == []
    weights.transfer(source, ("ring", "box", "star"), target, SPEC.names)
    given, after = source.state_dict(), target.state_dict()
    for name, value in after.items():
        if not name.startswith(("head.outputs", "head.multiply")):
            assert torch.equal(value, given[name])
            continue
        of_source, of_target, fresh = (
            tensors[name].flatten().view(3, 5 + classes, -1) if "outputs" in name else tensors[name].view(3, -1, 1)
            for tensors, classes in ((given, 3), (after, 2), (before, 2))
        )
        assert torch.equal(of_target[:, :5], of_source[:, :5])
        assert torch.equal(of_target[:, 5], of_source[:, 6])  # box
        assert torch.equal(of_target[:, 6], fresh[:, 6])  # disc


def test_the_same_classes_in_another_order_give_the_same_answers_in_that_order() -> None:
    source, target = SPEC.build().eval(), SPEC.build().eval()
    weights.transfer(source, SPEC.names, target, SPEC.names[::-1])
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(source.predict(images)[..., [0, 1, 2, 3, 4, 6, 5]], target.predict(images))
