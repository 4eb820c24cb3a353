"""What the nodes of a cluster say for themselves: whether they reach what a run needs, and in which precision they
compute."""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from yolab.cluster.connect import connected, resources_of
from yolab.data.loaded_data import LoadedData, Source
from yolab.errors import UsageError, YolabError
from yolab.experiment import Compute, Experiment
from yolab.preflight import Capacity
from yolab.storage import Storage, is_remote
from yolab.training.precision import Precision


def require_reach(experiment: Experiment, data: LoadedData, place: Storage) -> None:
    """Let every other node that has room for a worker look for a file that is made for that in a run's place, for the
    run's data, of which it makes itself a copy if need be, and for the weights that it starts from. Raises YolabError
    that names a node that doesn't find them."""
    own = ray.get_runtime_context().get_node_id()
    nodes = [node for node in _with_room(experiment.compute) if node["NodeID"] != own]
    with mark(place) as made:
        found = ask_nodes(nodes, _missing, place, made, data.sources, experiment.recipe.start)
    for node, missing in zip(nodes, found):
        if missing:
            raise YolabError(
                f"The node {node['NodeManagerAddress']} doesn't reach {missing[0]}, or has another of that name. What "
                "isn't on a file system that all nodes share belongs into a bucket: runs by --storage "
                "s3://bucket/runs, data by `yolab data pack FOLDER s3://bucket/data` or `dvc push`, weights to start "
                "from as recipe.start=s3://bucket/….safetensors."
            )


@contextmanager
def mark(place: Storage) -> Iterator[str]:
    """Give the name of a file in a place, by which others can tell that they reach the same."""
    made = f"reached-{secrets.token_hex(4)}"
    place.write(made, b"")
    try:
        yield made
    finally:
        place.remove(made)


def auto_precision_of_cluster(compute: Compute) -> str:
    """Return what precision `auto` stands for on the nodes that have room for a worker. Raises UsageError if they don't
    agree."""
    with connected():
        nodes = _with_room(compute)
        found = ask_nodes(nodes, _auto_precision, "cuda" if compute.gpus_per_worker else "cpu")
    if not found:
        raise UsageError(
            "compute.precision=auto has no meaning while no node with room for a worker is there: say which one the "
            "run is to have."
        )
    if len(set(found)) > 1:
        told = ", ".join(f"{name} on {node['NodeManagerAddress']}" for node, name in zip(nodes, found))
        raise UsageError(
            f"compute.precision=auto has no one meaning on this cluster ({told}): say which one the run is to have."
        )
    return found[0]


def _with_room(compute: Compute) -> list[dict[str, Any]]:
    """Return the nodes that have room for a worker, as `ray.nodes()` describes them."""
    return [node for node in ray.nodes() if node["Alive"] and Capacity((resources_of(node),)).workers(compute)]


def ask_nodes(
    nodes: list[dict[str, Any]], question: Callable[..., Any], *about: Any, patience: float | None = None
) -> list[Any]:
    """Return what each node answers, also while all it has is taken; None for one that doesn't within so many seconds.
    The process that answers does nothing else."""
    ask = ray.remote(num_cpus=0, max_calls=1)(question)
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    asked = [ask.options(scheduling_strategy=place).remote(*about) for place in there]
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=patience) if asked else ([], [])
    return [ray.get(each) if each in answered else None for each in asked]


def _missing(place: Storage, name: str, data: Sequence[Source], start: str | None) -> list[str]:
    found = []
    try:
        found += [] if place.exists(name) else [str(place)]
    except YolabError as error:  # such as of a bucket whose keys the node doesn't have
        found.append(f"{place} ({error})")
    for source in data:
        try:
            source.here()  # before the workers join, where one that fetches would hold up the others
        except YolabError as error:
            found.append(f"{source.folder} ({error})")
    return found + ([start] if start and not is_remote(start) and not os.path.exists(start) else [])


def _auto_precision(kind: str) -> str:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides the GPUs from who occupies none
    return Precision.of("auto", torch.device(kind)).name
