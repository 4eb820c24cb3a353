"""What the schema of an experiment can't know: does the model exist at this size, is the data there and sound, is
there room. Everything here happens before anything is created."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from yolab.data import coco, verify
from yolab.data.digest import content_digest
from yolab.errors import UsageError
from yolab.experiment import Experiment
from yolab.models.detector import Detector, blueprint_of


@dataclass(frozen=True)
class Capacity:
    """What a cluster can give: CPU cores and GPUs over all of its nodes."""

    cpus: int
    gpus: int
    where: str = "this machine"


@dataclass(frozen=True)
class Cleared:
    """An experiment that can run: `names` of the classes, `data_digest` of the content it learns from and is scored
    on, `skipped` faults of the data by kind, left out because data.on_error is skip."""

    experiment: Experiment
    names: tuple[str, ...]
    train_images: int
    data_digest: str
    skipped: dict[str, int]

    @property
    def digest(self) -> str:
        return self.experiment.digest(self.data_digest)


def clear(
    experiment: Experiment, capacity: Capacity | None = None, progress: Callable[[int, int], None] | None = None
) -> Cleared:
    """Check all that can be known beforehand. Without a capacity the run needs no more than one process.

    Raises UsageError that says what, where and what to do.
    """
    _check_model(experiment)
    _check_batch(experiment)
    if capacity is not None:
        _check_room(experiment, capacity)
    root, splits = Path(experiment.data.path), [experiment.data.train, experiment.data.val]
    sets = [coco.load(root, split, experiment.data.on_error) for split in splits]
    if experiment.data.on_error == "fail":
        report = verify.verify(root, splits, progress)
        if not report.ok:
            raise UsageError(
                f"{report.summary()}\nRepair the data, or leave out what is faulty with data.on_error=skip."
            )
    if (sets[0].names, sets[0].category_ids) != (sets[1].names, sets[1].category_ids):
        raise UsageError(f"The categories of {splits[0]} and {splits[1]} in {root} differ: both must list the same.")
    if len(sets[0].samples) < experiment.compute.workers:
        raise UsageError(
            f"{splits[0]} has {len(sets[0].samples)} images for {experiment.compute.workers} workers: "
            "lower compute.workers."
        )
    skipped: dict[str, int] = {}
    for split in sets:
        for kind, count in split.skipped.items():
            skipped[kind] = skipped.get(kind, 0) + count
    return Cleared(experiment, sets[0].names, len(sets[0].samples), content_digest(root, splits), skipped)


def _check_model(experiment: Experiment) -> None:
    with torch.device("meta"):
        stride = max(Detector(blueprint_of(experiment.model), classes=1).strides)
    size = experiment.data.image_size
    if size % stride:
        below, above = size // stride * stride, (size // stride + 1) * stride
        choices = f"{below} or {above}" if below else f"{above}"
        raise UsageError(
            f"data.image_size can't be {size}: {experiment.model.name} needs a multiple of its largest stride, "
            f"{stride}. Take {choices}."
        )


def _check_batch(experiment: Experiment) -> None:
    if experiment.recipe.batch < experiment.compute.workers:
        raise UsageError(
            f"recipe.batch is {experiment.recipe.batch} images over all workers, but compute.workers is "
            f"{experiment.compute.workers}: each needs at least one. Raise recipe.batch or lower compute.workers."
        )


def _check_room(experiment: Experiment, capacity: Capacity) -> None:
    compute = experiment.compute
    for kind, each, there in (
        ("cpus", compute.cpus_per_worker, capacity.cpus),
        ("gpus", compute.gpus_per_worker, capacity.gpus),
    ):
        if compute.workers * each > there:
            raise UsageError(
                f"compute.workers={compute.workers} with compute.{kind}_per_worker={each} needs "
                f"{compute.workers * each} {kind}, but {capacity.where} has {there}: lower one of them, or connect "
                "a larger cluster (RAY_ADDRESS)."
            )
