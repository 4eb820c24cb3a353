"""A published checkpoint on its way through the commands: import, evaluate, predict, export, train, promote."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from tests import tiny_set
from tests.cli.conftest import Yolab
from tests.models import checkpoints, golden
from yolab.experiment import Model, build
from yolab.models import weights
from yolab.models.spec import DetectorSpec


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """yolov7-tiny for two classes, as the reference would have pickled it."""
    torch.manual_seed(0)
    detector = DetectorSpec(Model(name="yolov7-tiny"), ("box", "disc"), 64).build()
    for conv in detector.head.outputs:
        conv.weight.data *= 50  # else the scores are so alike that rounding ranks them
    ours = [value for name, value in detector.state_dict().items() if not name.endswith("tracked")]
    skipped = ("anchors", "anchor_grid", "tracked")
    keys = [name for name, _ in golden.read("training-yolov7-tiny")["keys"] if not name.endswith(skipped)]
    tensors = dict(zip(keys, ours, strict=True))
    return checkpoints.write(tmp_path / "file.pt", tensors, torch.nn.LeakyReLU(0.1), names=["box", "disc"])


def test_an_imported_checkpoint_works_at_once_everywhere(
    yolab: Yolab, checkpoint: Path, small_set: Path, tmp_path: Path, migrated_database: Path
) -> None:
    storage, ours, data = tmp_path / "runs", tmp_path / "tiny.safetensors", ("--data", small_set, "--json")
    storage.mkdir()
    shutil.copyfile(migrated_database, storage / "mlflow.db")
    imported = yolab("weights", "import", checkpoint, ours, "--json").json()
    assert (imported["model"], imported["graph"], imported["classes"]) == (
        "yolov7-tiny",
        "trained graph",
        ["box", "disc"],
    )
    assert yolab("weights", "import", checkpoint, ours).code == 2

    scores = yolab("evaluate", "--weights", ours, *data, "--size", "64").json()
    pictures = ("--output", tmp_path / "pictures", "--most", "1", "--objectness", "--json")
    (drawn,) = yolab("predict", small_set / "val2017", "--weights", ours, *pictures).json()
    assert Path(drawn["objectness"]).stat().st_size > 0

    onnx = tmp_path / "tiny.onnx"
    assert yolab("export", onnx, "--weights", ours, "--json").json()["relative_difference"] < 1e-3
    over = yolab("export", onnx, "--weights", ours)
    assert (over.code, "is there already" in over.err) == (2, True)
    again = yolab("evaluate", "--weights", onnx, *data, "--size", "64").json()
    assert again["ap"] == pytest.approx(scores["ap"], abs=1e-3)
    refused = yolab("predict", small_set / "val2017", "--weights", onnx, "--objectness")
    assert (refused.code, "looks inside the model" in refused.err) == (2, True)

    silent = tmp_path / "silent.safetensors"  # what a detector of noise finds is not the same after rounding
    detector, about = weights.load(ours)
    for conv in detector.head.outputs:
        conv.bias.data -= 100
    weights.save(detector, about, silent)
    promoting = yolab("promote", silent, "--model", "imported", "--data", small_set, "--storage", storage, "--json")
    assert promoting.code == 0, promoting.err
    promoted = promoting.json()
    assert (promoted["new"], promoted["version"]) == (True, "1")

    described = build({}, tiny_set.experiment(small_set, recipe__epochs=1, recipe__start=str(ours)), "test")
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(described.model_dump()))
    narrower = yolab("train", experiment, "--storage", storage)
    assert (narrower.code, "no convolution of it fits" in narrower.err) == (2, True)
    same = yolab("train", experiment, "model.scale.width=1.0", "model.scale.hidden=1.0", "--storage", storage, "--json")
    assert same.code == 0, same.err
    assert "start fresh" not in same.err


def test_a_file_that_is_no_checkpoint_is_refused_and_nothing_is_written(yolab: Yolab, tmp_path: Path) -> None:
    (tmp_path / "file.pt").write_bytes(b"hello")
    refused = yolab("weights", "import", tmp_path / "file.pt", tmp_path / "out.safetensors")
    assert refused.code == 2
    assert "not a checkpoint" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["file.pt"]
