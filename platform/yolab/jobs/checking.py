"""What every job that trains does first: read the experiment, and check all that can be known beforehand."""

from functools import partial
from pathlib import Path

from yolab import preflight
from yolab.cluster.capacity import capacity, of_this_machine
from yolab.experiment import Experiment, Overrides, build, changes_of, load, with_absolute_paths
from yolab.jobs.watcher import Watcher
from yolab.preflight import Capacity, CheckedExperiment


def experiment_from(experiment: str | Path | Experiment, overrides: Overrides = ()) -> Experiment:
    """Return an experiment, read from its file if need be, with `key.path=value` overrides. Raises UsageError."""
    if isinstance(experiment, Experiment):
        return build(experiment.model_dump(), changes_of(overrides), "the experiment")
    return load(experiment, overrides)


def check(experiment: Experiment, watcher: Watcher, room: Capacity | None = None) -> CheckedExperiment:
    """Check an experiment before anything is created; say what the data check leaves out. Raises UsageError.

    A run over several workers asks for the cluster's capacity by itself, one in this process for this machine's.
    """
    described = with_absolute_paths(experiment)
    if room is None:
        room = capacity() if described.compute.workers > 1 else of_this_machine()
    checked = preflight.check(described, room, partial(watcher.progress, "Checking the data"))
    for fault, count in checked.data.skipped.items():
        watcher.note(f"Skipped {count} × {fault} in the data, as data.on_error=skip says.")
    for warning in checked.warnings:
        watcher.note(f"note: {warning}")
    return checked
