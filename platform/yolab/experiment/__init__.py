"""The typed description of one run: its schema, its presets, and how it is read."""

from yolab.experiment.load import Overrides, build, changes_of, deviations, load, with_absolute_paths
from yolab.experiment.merging import merge, nest
from yolab.experiment.messages import did_you_mean, listed
from yolab.experiment.schema import (
    NAME,
    Assigner,
    Augment,
    Compute,
    Data,
    Experiment,
    Loss,
    Model,
    Optimiser,
    Recipe,
    Scale,
    WorkerCount,
    flatten,
    paths,
)

__all__ = [
    "NAME",
    "Assigner",
    "Augment",
    "Compute",
    "Data",
    "Experiment",
    "Loss",
    "Model",
    "Optimiser",
    "Overrides",
    "Recipe",
    "Scale",
    "WorkerCount",
    "build",
    "changes_of",
    "deviations",
    "did_you_mean",
    "flatten",
    "listed",
    "load",
    "merge",
    "nest",
    "paths",
    "with_absolute_paths",
]
