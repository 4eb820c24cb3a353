"""What one's own cluster is: what lab.yaml says, and every file here is made from."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

TRIAL = {"trial": 1000}  # on the head, where the drivers of trials by several workers sit


class Description(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(Description):
    """What a node has; `instance`: AWS's name of such a machine."""

    cpus: int = Field(ge=1)
    gpus: int = Field(default=0, ge=0)
    memory_gib: int = Field(ge=1)
    instance: str


class Pool(Machine):
    """Nodes of one kind, between `min` and `max` of them, that may be `spot`: taken away at any time."""

    name: str
    min: int = Field(default=0, ge=0)
    max: int = Field(ge=1)
    spot: bool = False


class Slurm(Description):
    """What a job asks of Slurm: so many nodes, each with the CPU cores and GPUs, for `time`, as sbatch writes it."""

    nodes: int = Field(ge=1)
    cpus: int = Field(ge=1)
    gpus: int = Field(default=0, ge=0)
    time: str


class Lab(Description):
    """A cluster, and where what it shares is: the runs in `storage`, MLflow at `mlflow`; `secret`: the name of the
    Kubernetes Secret with environment variables such as AWS_ACCESS_KEY_ID; `command`: what a job runs. On AWS nodes
    reach the bucket by their `instance_profile`. `machines` of one's own are reached by ssh as `ssh_user`; the first is
    the head."""

    name: str
    image: str
    storage: str
    mlflow: str
    secret: str
    command: tuple[str, ...]
    head: Machine
    pools: tuple[Pool, ...]
    region: str
    instance_profile: str
    ssh_user: str
    machines: tuple[str, ...] = Field(min_length=1)
    slurm: Slurm

    @property
    def variables(self) -> dict[str, str]:
        """What the nodes have in their environment, without secrets."""
        return {"YOLAB_STORAGE": self.storage, "MLFLOW_TRACKING_URI": self.mlflow, "XDG_CACHE_HOME": "/cache"}

    @property
    def most_nodes(self) -> int:
        return sum(pool.max for pool in self.pools)


def read(path: Path) -> Lab:
    """Return the lab that a file describes; raises pydantic's ValidationError for what it can't be."""
    return Lab.model_validate(yaml.safe_load(path.read_text()))
