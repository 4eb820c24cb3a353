"""Whether the nodes of a cluster reach what a run needs on each of them."""

import os
import tempfile
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from yolab.cluster.connect import resources_of
from yolab.errors import YolabError
from yolab.experiment import Experiment
from yolab.preflight import Capacity


def require_reach(experiment: Experiment, folder: Path) -> None:
    """Let every other node that has room for a worker look for a file that is made for that in a run's folder, and for
    the run's data. Raises YolabError that names a node that doesn't find them."""
    folder.mkdir(parents=True, exist_ok=True)
    data, compute = (experiment.data.path, *experiment.data.also), experiment.compute
    own = ray.get_runtime_context().get_node_id()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != own]
    nodes = [node for node in nodes if Capacity((resources_of(node),)).workers(compute)]
    with tempfile.NamedTemporaryFile(prefix="reached-", dir=folder) as made:
        found = ray.get([_look_on(node["NodeID"], [made.name, *data]) for node in nodes])
    for node, missing in zip(nodes, found):
        if missing:
            place = folder if missing[0] == made.name else missing[0]
            raise YolabError(
                f"The node {node['NodeManagerAddress']} doesn't reach {place}: all nodes need the folders of the runs "
                "and of the data, under the same paths, on a file system that they share."
            )


def _look_on(node_id: str, paths: list[str]) -> ray.ObjectRef:
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(num_cpus=0)(_missing).options(scheduling_strategy=there).remote(paths)


def _missing(paths: list[str]) -> list[str]:
    return [path for path in paths if not os.path.exists(path)]
