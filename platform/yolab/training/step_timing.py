"""A few steps of a run, for real, to say what the whole of it would take."""

import contextlib
import itertools
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from yolab.data.loaded_data import LoadedData
from yolab.evaluation.detect import detect
from yolab.experiment import Experiment, WorkerCount
from yolab.models.device import choose_device
from yolab.models.spec import DetectorSpec
from yolab.storage import Folder
from yolab.training.loop import train
from yolab.training.reporter import Reporter

_WARM_UP, _STEPS = 2, 4
_IMAGES = 16  # evaluated
_CHANNELS = 3  # bytes of a decoded pixel


@dataclass(frozen=True)
class StepTiming:
    """Of one worker: seconds of a step with the loading of its batch, seconds to evaluate an image, and the most bytes
    of memory that it takes: of the GPU's if it has one, else with its loading processes and the
    images that these keep."""

    step_seconds: float
    image_seconds: float
    memory_bytes: int


class _EnoughError(Exception):
    """Ends the steps."""


def time_steps(experiment: Experiment, data: LoadedData) -> StepTiming:
    """Take a few steps of one worker of a run, and evaluate a few images, in this process; leave nothing."""
    times: list[float] = []
    beside = 0

    def count(epoch: int, done: int, total: int) -> None:
        nonlocal beside
        times.append(time.perf_counter())
        if len(times) > _WARM_UP + _STEPS:
            loading = psutil.Process().children(recursive=True)
            beside = sum(process.memory_info().rss for process in loading)
            raise _EnoughError

    compute = experiment.compute
    workers, shards = compute.workers.max, compute.shards
    alone = compute.model_copy(
        update={"workers": WorkerCount(min=1, max=1), "shards": shards and max(1, shards // workers)}
    )
    long_enough = {"epochs": max(experiment.recipe.epochs, _WARM_UP + _STEPS + 1), "evaluate_every": 10**6}
    batch = max(1, experiment.recipe.batch // workers)
    recipe = experiment.recipe.model_copy(update={"batch": batch, **long_enough})
    experiment = experiment.model_copy(update={"compute": alone, "recipe": recipe})
    with contextlib.suppress(_EnoughError), tempfile.TemporaryDirectory() as scratch:
        train(experiment, data, Reporter(Folder(Path(scratch)), None), progress=count)
    step_seconds = statistics.median(end - start for start, end in itertools.pairwise(times[_WARM_UP:]))

    device = choose_device()
    model = DetectorSpec.of(experiment, data.val.names).build().to(device)
    samples = data.val.samples[:_IMAGES]
    started = time.perf_counter()
    detect(model, samples, experiment.data.image_size, recipe.batch)
    image_seconds = (time.perf_counter() - started) / len(samples)
    if device.type == "cuda":
        return StepTiming(step_seconds, image_seconds, torch.cuda.max_memory_allocated(device))
    own = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    keeping = min(compute.image_cache_gib * 2**30, _CHANNELS * data.train.samples.sizes.prod(1).sum())
    return StepTiming(step_seconds, image_seconds, round(own + beside + keeping * max(1, compute.loader_processes)))
