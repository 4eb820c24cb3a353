"""What the schema of an experiment can't know: does the model exist at this size, is the data there and sound, is
there room. Everything here happens before anything is created."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import torch

from yolab.assignment import policies
from yolab.data import loaded_data
from yolab.data.copies import RemoteSet
from yolab.data.loaded_data import SILENT, LoadedData, Progress
from yolab.data.loader import batches_an_epoch, samples_an_epoch
from yolab.errors import UsageError
from yolab.experiment import Compute, Experiment, did_you_mean, listed
from yolab.models import weights
from yolab.models.blueprint import check_size, misplaced_identities
from yolab.models.detector import blueprint_of, strides_of
from yolab.models.freeze import frozen_nodes
from yolab.models.spec import DetectorSpec
from yolab.storage import local_file
from yolab.training import autoanchor
from yolab.training.optimiser import OPTIMISERS


@dataclass(frozen=True)
class Capacity:
    """What each node of a cluster can give, `where` that is: CPU cores and GPUs."""

    nodes: tuple[tuple[int, int], ...]
    where: str = "this machine"

    def __str__(self) -> str:
        cpus, gpus = (sum(node[kind] for node in self.nodes) for kind in (0, 1))
        return f"{cpus} CPUs, {gpus} GPUs" + (f" on {len(self.nodes)} nodes" if len(self.nodes) > 1 else "")

    def most_on_one_node(self, compute: Compute) -> str:
        """Return in words what the node has that has most of what a worker needs."""
        by = itemgetter(1, 0) if compute.gpus_per_worker else itemgetter(0, 1)
        cpus, gpus = max(self.nodes, key=by, default=(0, 0))
        return f"{cpus} CPUs and {gpus} GPUs on one node"

    def workers(self, compute: Compute) -> int:
        """Return how many workers have room at the same time: each has to be on one node."""
        per_cpu, per_gpu = compute.cpus_per_worker, compute.gpus_per_worker
        return sum(min(cpus // per_cpu, gpus // per_gpu if per_gpu else cpus) for cpus, gpus in self.nodes)

    def at_once(self, compute: Compute) -> int:
        """Return how many runs have room at the same time."""
        return self.workers(compute) // compute.workers.min


@dataclass(frozen=True)
class CheckedExperiment:
    """An experiment that can run: `names` of the classes, `train_images` seen in an epoch, `val_images` scored on,
    `data_digest` of the content of both, `start_digest` that of the weights that it starts from; `warnings` of what is
    allowed but should be known.

    It is pickled without its `data`: what Ray writes down of a sweep must be small, and trials share one copy."""

    experiment: Experiment
    data: LoadedData
    names: tuple[str, ...]
    train_images: int
    val_images: int
    data_digest: str
    start_digest: str | None
    warnings: tuple[str, ...]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"data": None}

    @property
    def digest(self) -> str:
        return self.experiment.digest(self.data_digest, self.start_digest)

    @property
    def recipe_digest(self) -> str:
        """The digest of the experiment with any seed."""
        return self.experiment.model_copy(update={"seed": 0}).digest(self.data_digest, self.start_digest)


def check(
    experiment: Experiment,
    capacity: Capacity | None = None,
    progress: Progress = SILENT,
    remotes: Mapping[str, RemoteSet] = MappingProxyType({}),
) -> CheckedExperiment:
    """Check all that can be known beforehand. Without a capacity the run needs no more than one process. `progress` and
    `remotes` are those of `loaded_data.load`.

    Raises UsageError that says what, where and what to do.
    """
    check_model(experiment)
    _check_batch(experiment)
    if capacity is not None:
        _check_room(experiment, capacity)
    data = loaded_data.load(experiment.data, progress, remotes)
    _check_images(experiment, data)
    start_digest, warnings = _check_start(experiment, data.train.names)
    return CheckedExperiment(
        experiment,
        data,
        data.train.names,
        samples_an_epoch(data.train, experiment.data.repeat_threshold),
        len(data.val.samples),
        data.digest,
        start_digest,
        (
            *misplaced_identities(blueprint_of(experiment.model)),
            *warnings,
            *autoanchor.warnings(DetectorSpec.of(experiment, data.train.names), data.train.samples, experiment),
        ),
    )


def _check_images(experiment: Experiment, data: LoadedData) -> None:
    images, split = len(data.train.samples), data.train.split
    if images < experiment.recipe.batch:
        raise UsageError(
            f"recipe.batch is {experiment.recipe.batch}, but {split} in {data.train.root} has {images} images: "
            "lower recipe.batch."
        )
    for dataset in (data.train, data.val):
        if not len(dataset.samples.boxes):
            raise UsageError(
                f"{dataset.split} in {dataset.root} has no object at all: there is nothing to learn or to score."
            )
    smallest = images // batches_an_epoch(images, experiment.recipe.batch)
    setting, parts = _parts_of_batch(experiment)
    if smallest < parts:
        raise UsageError(
            f"{split} has {images} images, which makes batches of {smallest}: too few for {setting}={parts}. Lower it."
        )


def _check_start(experiment: Experiment, names: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the digest of the weights to start from, and what of the model they leave fresh."""
    where = experiment.recipe.start
    if where is None:
        return None, []
    if not where.endswith(".safetensors"):
        raise UsageError(
            f"recipe.start can't be {where}: give the .safetensors file of a run, or what `yolab weights import` makes "
            "of a checkpoint. ONNX files and registered models are folded, which can't be trained."
        )
    with TemporaryDirectory() as scratch:
        try:
            path = local_file(where, Path(scratch))
        except FileNotFoundError:
            raise UsageError(f"recipe.start can't be {where}: there is no such file.") from None
        source, about = weights.load(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if about.folded:
        raise UsageError(
            f"recipe.start can't be {where}: its graph is folded, which can't be trained. Take the weights of a run, "
            "or an imported checkpoint."
        )
    with torch.device("meta"):
        target = DetectorSpec.of(experiment, names).build()
    fresh = weights.unlike(source, target)
    convolutions = {name for name in target.state_dict() if name.startswith("nodes.") and name.endswith("conv.weight")}
    if convolutions <= set(fresh):
        raise UsageError(f"recipe.start can't be {where}: no convolution of it fits {experiment.model.name}.")
    told = [f"{len(fresh)} tensors don't fit those in {path.name} and start fresh: {listed(fresh)}."] if fresh else []
    strange = [name for name in names if name not in about.names]
    if strange:
        told.append(f"{len(strange)} of {len(names)} classes aren't in {path.name} and start fresh: {listed(strange)}.")
    return digest, told


def check_model(experiment: Experiment) -> None:
    """Raise UsageError if the model can't be built, trained by the policy, or take images of that size."""
    blueprint, policy = blueprint_of(experiment.model), experiment.assigner.policy
    if policies.needs_auxiliary(experiment.assigner) and not blueprint.auxiliary:
        raise UsageError(
            f"assigner.policy can't be {policy} with {blueprint.name}, which has no auxiliary head: take lead or "
            "plain, or a model that has one, such as yolov7-w6."
        )
    names = [node.name for node in blueprint.nodes]
    for pattern in experiment.recipe.freeze:
        if not frozen_nodes(names, [pattern]):
            raise UsageError(
                f"recipe.freeze: no node of {blueprint.name} is called {pattern!r}."
                f"{did_you_mean(pattern, names)} `*` stands for any letters."
            )
    OPTIMISERS[experiment.recipe.optimiser.name].check(experiment.recipe)
    check_size("data.image_size", experiment.data.image_size, experiment.model.name, max(strides_of(blueprint)))


def _check_batch(experiment: Experiment) -> None:
    compute = experiment.compute
    setting, parts = _parts_of_batch(experiment)
    if experiment.recipe.batch < parts:
        raise UsageError(
            f"recipe.batch is {experiment.recipe.batch} images over all workers, but {setting} is {parts}: each needs "
            f"at least one. Raise recipe.batch or lower {setting}."
        )
    if compute.workers.min < compute.workers.max and not compute.shards:
        raise UsageError(
            "compute.workers with min and max needs compute.shards, so that the result doesn't depend on how many "
            f"there are: set compute.shards={compute.workers.max}, or more."
        )
    if compute.shards and compute.shards < compute.workers.max:
        raise UsageError(
            f"compute.shards is {compute.shards}, but compute.workers is {compute.workers.max}: each worker needs a "
            "shard. Raise compute.shards or lower compute.workers."
        )
    if (compute.batch_norm == "shard") != bool(compute.shards) and compute.batch_norm != "auto":
        raise UsageError(
            f"compute.batch_norm can't be {compute.batch_norm} "
            + ("with" if compute.shards else "without")
            + " compute.shards: a shard's images are normalised together, and nobody else's are. Leave it at auto."
        )


def _parts_of_batch(experiment: Experiment) -> tuple[str, int]:
    """Return the setting that says how many parts batches are cut into, and how many."""
    compute = experiment.compute
    return ("compute.shards", compute.shards) if compute.shards else ("compute.workers", compute.workers.max)


def _check_room(experiment: Experiment, capacity: Capacity) -> None:
    compute = experiment.compute
    if not capacity.at_once(compute):
        raise UsageError(
            f"compute.workers={compute.workers.min} with compute.cpus_per_worker={compute.cpus_per_worker} and "
            f"compute.gpus_per_worker={compute.gpus_per_worker}: {capacity.where} has {capacity}, at most "
            f"{capacity.most_on_one_node(compute)}, room for {capacity.workers(compute)} such workers. Lower one of "
            "them, or connect a larger cluster (RAY_ADDRESS)."
        )
