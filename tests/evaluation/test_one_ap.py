"""The same weights on the same images have one AP, on whatever way it is measured."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests import tiny_set
from tests.reporting import folder_reporter, newest
from yolab.data import coco, demo, loaded_data
from yolab.evaluation.detect import ImageDetections
from yolab.evaluation.metrics import score
from yolab.experiment import build
from yolab.jobs import evaluate_job, export_job
from yolab.models import weights
from yolab.models.fold import fold
from yolab.registry.served import ServedDetector
from yolab.training.checkpoint import WEIGHTS
from yolab.training.loop import train

SPLIT = "train2017"  # the images that were learned from: so short a run says little of others
LEARNS = {
    "data.val": SPLIT,
    "data.image_size": 96,
    "model.scale.width": 0.25,
    "assigner.top_k": 30,
    "data.augment.preset": "none",
    "recipe.batch": 4,
    "recipe.optimiser.lr": 0.03,
    "recipe.warmup.bias_lr": 0.01,
    "recipe.loss.objectness": 64.0,
    "recipe.loss.classification": 4.0,
}


@pytest.fixture(params=["tiny", "demo"])
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of square images, or one of three shapes."""
    counts = {SPLIT: 23}
    if request.param == "tiny":
        return tiny_set.write(tmp_path / "tiny", counts)
    monkeypatch.setattr(demo, "IMAGES", counts)
    demo.draw(tmp_path / "demo")
    return tmp_path / "demo"


def test_all_ways_to_measure_a_model_give_one_ap(data: Path, tmp_path: Path) -> None:
    values = tiny_set.experiment(data, recipe__epochs=30, recipe__evaluate_every=30) | LEARNS
    described = build({}, values, "test")
    (tmp_path / "run").mkdir()
    epoch = train(described, loaded_data.load(described.data), folder_reporter(tmp_path / "run"))["ap"]
    trained = newest(tmp_path / "run") / WEIGHTS
    detector, about = weights.load(trained)
    folded, onnx = tmp_path / "folded.safetensors", tmp_path / "model.onnx"
    weights.save(fold(detector), replace(about, folded=True), folded)
    export_job.export(onnx, trained)

    found = {f"batch {batch}": evaluate_job.evaluate(trained, data, SPLIT, batch=batch) for batch in (1, 7, 16)}
    found |= {path.name: evaluate_job.evaluate(path, data, SPLIT) for path in (folded, onnx)}
    aps = {way: result.metrics["ap"] for way, result in found.items()} | {"served": served_ap(folded, data)}
    assert epoch > 0.05
    assert aps == pytest.approx(dict.fromkeys(aps, epoch), abs=1e-4)

    rectangles = [evaluate_job.evaluate(trained, data, SPLIT, batch=n, padding="rectangle") for n in (1, 7, 16)]
    assert [each.metrics["ap"] for each in rectangles] == pytest.approx([rectangles[0].metrics["ap"]] * 3, abs=1e-4)


def served_ap(file: Path, root: Path) -> float:
    """Return the AP of a packaged model's answers."""
    model, dataset = ServedDetector(), coco.load(root, SPLIT)
    model.load_context(SimpleNamespace(artifacts={"weights": str(file)}))
    answers = model.predict(None, [str(sample.path) for sample in dataset.samples], {"confidence": 0.001})
    detections = [
        ImageDetections(
            sample.image_id,
            torch.tensor([each["box"] for each in answer]).reshape(-1, 4),
            torch.tensor([each["score"] for each in answer]),
            torch.tensor([dataset.names.index(each["class"]) for each in answer], dtype=torch.int64),
        )
        for sample, answer in zip(dataset.samples, answers)
    ]
    return score(dataset, detections).metrics["ap"]
