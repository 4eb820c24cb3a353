"""What every job that trains does first: read the experiment, and check all that can be known beforehand."""

from dataclasses import replace
from pathlib import Path

import torch

from yolab import preflight
from yolab.cluster.capacity import auto_precision
from yolab.errors import UsageError
from yolab.experiment import Experiment, Overrides, build, changes_of, load, with_absolute_paths
from yolab.jobs.watcher import Watcher
from yolab.preflight import Capacity, CheckedExperiment
from yolab.tracking import data_version
from yolab.training.precision import Precision


def experiment_from(experiment: str | Path | Experiment, overrides: Overrides = ()) -> Experiment:
    """Return an experiment, read from its file if need be, with `key.path=value` overrides. Raises UsageError."""
    if isinstance(experiment, Experiment):
        return build(experiment.model_dump(), changes_of(overrides), "the experiment")
    return load(experiment, overrides)


def check_trials(experiment: Experiment, watcher: Watcher, room: Capacity) -> CheckedExperiment:
    """Check an experiment whose trials share a cluster, as `check` does. Raises UsageError."""
    compute = experiment.compute
    if compute.workers.min < compute.workers.max:
        raise UsageError(
            f"compute.workers can't be from {compute.workers.min} to {compute.workers.max} in trials: they would "
            "take the room from each other. Set one number."
        )
    return check(experiment, watcher, room)


def check(
    experiment: Experiment, watcher: Watcher, room: Capacity | None = None, device: torch.device | None = None
) -> CheckedExperiment:
    """Check an experiment before anything is created; say what the data check leaves out. Raises UsageError.

    It needs no more than the `room` there is, and gets the precision that `auto` stands for there, or on the `device`
    of this process if that is where it runs. Without a room it is not to run at all.
    """
    experiment = with_absolute_paths(experiment)
    remotes = data_version.pushed([experiment.data.path, *experiment.data.also])
    checked = preflight.check(experiment, room, watcher.progress, remotes)
    if room is not None and experiment.compute.precision == "auto":
        name = Precision.of("auto", device).name if device else auto_precision(experiment.compute)
        checked = replace(checked, experiment=checked.experiment.in_precision(name))
    for fault, count in checked.data.skipped.items():
        watcher.note(f"Skipped {count} × {fault} in the data, as data.on_error=skip says.")
    for warning in checked.warnings:
        watcher.note(f"note: {warning}")
    return checked
