"""Evaluate: the COCO metrics of a model on a split, and pictures of what it got wrong."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolab.data import coco
from yolab.data.combined import with_classes
from yolab.evaluation import detections_file
from yolab.evaluation.detect import detect
from yolab.evaluation.metrics import score, to_coco
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher
from yolab.jobs.weights_source import open_weights
from yolab.models.device import choose_device
from yolab.reports.evaluation_figures import save_report


@dataclass(frozen=True)
class ClassScore:
    """Of one class: its AP and AP50 as fractions, NaN if the split has no object of it."""

    name: str
    ap: float
    ap50: float


@dataclass(frozen=True)
class Evaluation(Result):
    """`metrics`: COCO's twelve, as fractions; they and `classes` are empty for a split without annotations."""

    weights: str
    data: str
    split: str
    images: int
    metrics: dict[str, float]
    classes: tuple[ClassScore, ...]

    def document(self) -> dict[str, Any]:
        scored = {f"ap/{each.name}": each.ap for each in self.classes if not math.isnan(each.ap)}
        about = {"weights": self.weights, "data": self.data, "split": self.split, "images": self.images}
        return about | self.metrics | scored


def evaluate(
    weights: str | Path,
    data: str | Path,
    split: str = "val2017",
    *,
    classes: Sequence[str] = (),
    size: int | None = None,
    batch: int = 16,
    report: str | Path | None = None,
    submission: str | Path | None = None,
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> Evaluation:
    """Score a model on a split of a data set in COCO layout.

    weights: a .safetensors or .onnx file, or models:/NAME@ALIAS. classes: old=new, as in an experiment's data.classes.
    The classes are matched by name; those that the split doesn't have are not scored.
    size: the long side in pixels; None: as trained. report: a folder for pictures and the detections as Parquet.
    submission: a JSON file for COCO's test server; the split needs no annotations then. Raises UsageError.
    """
    model, spec = open_weights(weights, storage)
    dataset = with_classes(coco.load(Path(data), split), list(classes))
    label_of = dataset.labels_of(spec.names, str(weights))
    if unscored := int((label_of < 0).sum()):
        watcher.note(f"{unscored} of the {len(label_of)} classes of {weights} aren't in {data}: they are not scored.")
    found = detect(
        model.to(choose_device()),
        dataset.samples,
        size or spec.image_size,
        batch,
        progress=lambda done, total: watcher.progress("Evaluating", done, total),
    )
    detections = [each.relabelled(label_of) for each in found]
    if submission:
        Path(submission).parent.mkdir(parents=True, exist_ok=True)
        Path(submission).write_text(json.dumps(to_coco(dataset, detections)))
        watcher.note(f"For the test server: {submission}")
    about = (str(weights), str(data), split, len(dataset.samples))
    if not dataset.truth:
        watcher.note(f"{split} has no annotations, so there is nothing to score against.")
        return Evaluation(*about, {}, ())
    scores = score(dataset, detections)
    if report:
        save_report(dataset, detections, scores, Path(report))
        detections_file.save(detections, Path(report) / detections_file.FILE_NAME)
        watcher.note(f"Pictures and detections: {report}")
    by_class = zip(dataset.names, scores.class_ap.tolist(), scores.class_ap50.tolist())
    return Evaluation(*about, scores.metrics, tuple(ClassScore(*each) for each in by_class))
