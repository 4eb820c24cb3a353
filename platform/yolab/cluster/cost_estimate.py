"""What a sweep or a table would take: from a few steps of some of its trials, taken on the cluster beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ray

from yolab.data.loader import batches_an_epoch
from yolab.experiment import Experiment
from yolab.preflight import Capacity, CheckedExperiment
from yolab.search.search_space import counts_of
from yolab.training.step_timing import StepTiming, time_steps

MEASURED = 3  # points, from the cheapest model to the dearest
_OVERHEAD_SECONDS = {False: 3.0, True: 30.0}  # of a trial, whether it has several workers


@dataclass(frozen=True)
class CostEstimate:
    """`trials` that take so many `epochs` together, at most `at_once` in parallel; `hours` on the clock and of devices
    (GPUs, or CPU cores where none is used); the most bytes that a worker takes; what was measured."""

    trials: int
    epochs: float
    at_once: int
    hours: float
    device_hours: float
    device: str
    memory_bytes: int
    step_seconds: Mapping[float, float]  # by GFLOPs of the points that were measured

    def cost(self, price: float) -> float:
        """Return what it costs at a price for an hour of one device."""
        return self.device_hours * price


def estimate(
    experiments: Sequence[Experiment], share: float, checked: CheckedExperiment, capacity: Capacity
) -> CostEstimate:
    """Return what these trials take, if each runs for `share` of its epochs on average; the caller is connected to Ray.
    Where not even one has room, the steps are taken on what there is, and trials count one at a time.

    Steps of other points than those measured are taken to grow as their GFLOPs.
    """
    gflops = [counts_of(experiment, checked.names)["gflops"] for experiment in experiments]
    order = np.argsort(gflops, kind="stable")
    chosen = sorted({int(order[place]) for place in np.linspace(0, len(order) - 1, MEASURED).round().astype(int)})
    compute = checked.experiment.compute
    fits = capacity.workers(compute) > 0
    taken = {"num_cpus": compute.cpus_per_worker, "num_gpus": compute.gpus_per_worker} if fits else {"num_cpus": 1}
    remote = ray.remote(**taken, max_calls=1)(time_steps)
    data = ray.put(checked.data)
    measured: list[StepTiming] = [
        ray.get(remote.remote(experiments[place], data)) for place in chosen
    ]  # one by one, undisturbed

    by_cost = sorted(zip((gflops[place] for place in chosen), measured), key=lambda pair: pair[0])
    known = [cost for cost, _ in by_cost]
    steps = np.interp(gflops, known, [each.step_seconds for _, each in by_cost])
    images = np.interp(gflops, known, [each.image_seconds for _, each in by_cost])
    seconds, epochs = 0.0, 0.0
    for experiment, step, image in zip(experiments, steps, images):
        own = share * experiment.recipe.epochs
        batches = batches_an_epoch(checked.train_images, experiment.recipe.batch)
        evaluated = max(1.0, own / experiment.recipe.evaluate_every) * checked.val_images * image / compute.workers.max
        seconds += own * batches * step + evaluated + _OVERHEAD_SECONDS[compute.workers.max > 1]
        epochs += own
    at_once = max(1, capacity.at_once(compute))
    return CostEstimate(
        len(experiments),
        epochs,
        at_once,
        seconds / 3600 / min(at_once, len(experiments)),
        seconds / 3600 * compute.devices,
        "GPU" if compute.gpus_per_worker else "CPU core",
        max(each.memory_bytes for each in measured),
        dict(zip(known, (each.step_seconds for _, each in by_cost))),
    )
