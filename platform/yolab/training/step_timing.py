"""A few steps of a run, for real, to say what the whole of it would take."""

import contextlib
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from yolab.data.loaded_data import LoadedData
from yolab.evaluation.detect import detect
from yolab.experiment import Experiment
from yolab.models.device import choose_device
from yolab.models.spec import DetectorSpec
from yolab.training.loop import train
from yolab.training.reporter import NoCheckpoints, Reporter

_WARM_UP, _STEPS = 2, 4
_IMAGES = 16  # evaluated


@dataclass(frozen=True)
class StepTiming:
    """Of one worker: seconds of a step with the loading of its batch, seconds to evaluate an image, and the most bytes
    of memory that it took, of the GPU's if it has one."""

    step_seconds: float
    image_seconds: float
    memory_bytes: int


class _EnoughError(Exception):
    """Ends the steps."""


def time_steps(experiment: Experiment, data: LoadedData) -> StepTiming:
    """Take a few steps of one worker of a run, and evaluate a few images, in this process; leave nothing."""
    times: list[float] = []

    def count(epoch: int, done: int, total: int) -> None:
        times.append(time.perf_counter())
        if len(times) > _WARM_UP + _STEPS:
            raise _EnoughError

    compute = experiment.compute
    alone = compute.model_copy(update={"workers": 1})
    recipe = experiment.recipe.model_copy(update={"batch": max(1, experiment.recipe.batch // compute.workers)})
    experiment = experiment.model_copy(update={"compute": alone, "recipe": recipe})
    with contextlib.suppress(_EnoughError), tempfile.TemporaryDirectory() as scratch:
        train(experiment, data, Reporter(Path(scratch), NoCheckpoints()), progress=count)
    taken = times[_WARM_UP:] if len(times) > _WARM_UP + 1 else times
    step_seconds = (taken[-1] - taken[0]) / max(1, len(taken) - 1)

    device = choose_device()
    model = DetectorSpec.of(experiment, data.val.names).build().to(device)
    samples = data.val.samples[:_IMAGES]
    started = time.perf_counter()
    detect(model, samples, experiment.data.image_size, recipe.batch)
    image_seconds = (time.perf_counter() - started) / len(samples)
    if device.type == "cuda":
        return StepTiming(step_seconds, image_seconds, torch.cuda.max_memory_allocated(device))
    return StepTiming(step_seconds, image_seconds, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
