"""Weights on disk: which detector they say that they are of, in which version of the form."""

import json
from pathlib import Path

import pytest
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


def test_the_lineage_of_a_file_is_its_content(file: Path) -> None:
    assert source.lineage_of(file) == {"weights": file.name, "weights_sha256": weights.fingerprint(file)}
