"""Evaluate: the COCO metrics of a model on a split, and pictures of what it got wrong."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolab.data import coco
from yolab.data.coco import Dataset
from yolab.data.combined import with_classes
from yolab.data.copies import folder_of
from yolab.data.loader import Padding
from yolab.errors import UsageError
from yolab.evaluation import detections_file
from yolab.evaluation.detect import detect
from yolab.evaluation.metrics import score, to_coco
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher
from yolab.jobs.weights_source import open_weights, run_of
from yolab.models.device import named_device
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
    data: str | Path | None = None,
    split: str | None = None,
    *,
    classes: Sequence[str] = (),
    size: int | None = None,
    batch: int = 16,
    padding: Padding = "square",
    device: str | None = None,
    report: str | Path | None = None,
    submission: str | Path | None = None,
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> Evaluation:
    """Score a model on a split of a data set in COCO layout.

    weights: a .safetensors or .onnx file, models:/NAME@ALIAS, or a run by its name or SWEEP/TRIAL. data: None: what
    the run was scored on, whose split and classes stay then. split: of the data, None: val2017. classes: old=new,
    as in an experiment's data.classes. The classes are matched by name; those that the split doesn't have are not
    scored. size: the long side in pixels; None: as trained. padding: "square", or "rectangle", which is faster
    where images are wide, and which the published figures were measured with; the AP differs a little. `batch`
    never changes it. device: such as cpu or cuda:1; None: the GPU, where there is one. report: a folder for
    pictures and the detections as Parquet. submission: a JSON file for COCO's test server; the split needs no
    annotations then. Raises UsageError.
    """
    model, spec = open_weights(weights, storage)
    dataset = _dataset(weights, data, split, list(classes), storage)
    label_of = dataset.labels_of(spec.names, str(weights))
    if unscored := int((label_of < 0).sum()):
        shown = f"{unscored} of the {len(label_of)} classes of {weights}"
        watcher.note(f"{shown} aren't in {dataset.root}: they are not scored.")
    found = detect(
        model.to(named_device(device)),
        dataset.samples,
        size or spec.image_size,
        batch,
        padding=padding,
        progress=lambda done, total: watcher.progress("Evaluating", done, total),
    )
    detections = [each.relabelled(label_of) for each in found]
    if submission:
        Path(submission).parent.mkdir(parents=True, exist_ok=True)
        Path(submission).write_text(json.dumps(to_coco(dataset, detections)))
        watcher.note(f"For the test server: {submission}")
    about = (str(weights), str(data or dataset.root), dataset.split, len(dataset.samples))
    if not dataset.truth:
        watcher.note(f"{dataset.split} has no annotations, so there is nothing to score against.")
        return Evaluation(*about, {}, ())
    scores = score(dataset, detections)
    if report:
        save_report(dataset, detections, scores, Path(report))
        detections_file.save(detections, Path(report) / detections_file.FILE_NAME)
        watcher.note(f"Pictures and detections: {report}")
    by_class = zip(dataset.names, scores.class_ap.tolist(), scores.class_ap50.tolist())
    return Evaluation(*about, scores.metrics, tuple(ClassScore(*each) for each in by_class))


def _dataset(
    weights: str | Path, data: str | Path | None, split: str | None, classes: list[str], storage: str | Path | None
) -> Dataset:
    """Return the split to score on: of the data that is named, else the one that the run was scored on."""
    if data is not None:
        return with_classes(coco.load(folder_of(str(data)), split or "val2017"), classes)
    for option, given in (("--split", split), ("--classes", classes)):
        if given:
            raise UsageError(f"{option} is for the data that --data names: without it a run is scored as it was.")
    run = run_of(weights, storage)
    if run is None:
        raise UsageError(f"{weights} is no run, so it doesn't say on what to score it: give --data.")
    from yolab.jobs.session import Session  # only then: it imports MLflow, which takes 2 s
    from yolab.tracking import record

    return record.validation_set_of(Session.at(storage).uri, run)
