"""The files of `ray up`: https://docs.ray.io/en/latest/cluster/vms/references/ray-cluster-configuration.html."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from deploy.description import TRIAL, Lab, Machine, Pool

_TOKEN = "~/.ray/auth_token"  # where Ray looks for it
_SECRETS = "/etc/yolab.env"  # on each machine of one's own: AWS_ACCESS_KEY_ID=…, a line each, for docker


class ClusterFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster_name: str
    provider: dict[str, Any]
    auth: dict[str, str]
    docker: dict[str, Any]
    max_workers: int | None = None
    idle_timeout_minutes: int | None = None
    available_node_types: dict[str, "NodeType"] | None = None
    head_node_type: str | None = None
    file_mounts: dict[str, str] = {_TOKEN: _TOKEN}
    head_start_ray_commands: list[str]
    worker_start_ray_commands: list[str]


class NodeType(BaseModel):
    """A kind of machine, and how many there may be of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resources: dict[str, int]
    node_config: dict[str, Any]
    min_workers: int | None = None
    max_workers: int | None = None


def aws(lab: Lab) -> dict[str, Any]:
    """Return the file of a cluster on AWS that grows and shrinks. Its nodes get to the bucket by their role, so that
    nothing here is secret."""
    role = {"IamInstanceProfile": {"Arn": lab.instance_profile}}  # of its own accord Ray gives one to the head alone
    kinds = {"head": _type(lab.head, TRIAL, role), **{pool.name: _type(pool, {}, role) for pool in lab.pools}}
    return _written(
        lab,
        provider={"type": "aws", "region": lab.region, "cache_stopped_nodes": False},
        max_workers=lab.most_nodes,
        idle_timeout_minutes=5,
        available_node_types=kinds,
        head_node_type="head",
    )


def machines(lab: Lab) -> dict[str, Any]:
    """Return the file of a cluster of machines of one's own, which are there already."""
    head, *workers = lab.machines
    resources = f" --resources='{json.dumps(TRIAL)}'"
    return _written(
        lab,
        resources,
        # the second autoscaler of Ray 2.60 never starts such machines but the head
        ["--env=RAY_enable_autoscaler_v2=0", f"--env-file={_SECRETS}"],
        provider={"type": "local", "head_ip": head, "worker_ips": workers},
    )


def _written(lab: Lab, resources: str = "", more: list[str] | None = None, **given: Any) -> dict[str, Any]:
    # nvidia's runtime shows GPUs to those who name them
    variables = {"RAY_AUTH_MODE": "token", "NVIDIA_VISIBLE_DEVICES": "all", **lab.variables}
    options = [f"--env={name}={value}" for name, value in variables.items()]
    head = f"ray start --head --port=6379{resources} --autoscaling-config=~/ray_bootstrap_config.yaml"
    file = ClusterFile(
        cluster_name=lab.name,
        auth={"ssh_user": lab.ssh_user},
        docker={
            "image": lab.image,
            "container_name": lab.name,
            "run_options": [*options, "--volume=yolab-cache:/cache", *(more or [])],
        },
        # the ports of Ray and its dashboard are for the cluster: `ray dashboard` and `ray attach` forward them
        head_start_ray_commands=["ray stop", f"ulimit -n 65536; {head}"],
        worker_start_ray_commands=["ray stop", "ulimit -n 65536; ray start --address=$RAY_HEAD_IP:6379"],
        **given,
    )
    return file.model_dump(exclude_none=True)


def _type(machine: Machine, more: dict[str, int], role: dict[str, Any]) -> NodeType:
    pool = machine if isinstance(machine, Pool) else None
    market = {"InstanceMarketOptions": {"MarketType": "spot"}} if pool and pool.spot else {}
    gpus = {"GPU": machine.gpus} if machine.gpus else {}
    return NodeType(
        resources={"CPU": machine.cpus if pool else 0, **gpus, **more},
        node_config={"InstanceType": machine.instance, **role, **market},
        min_workers=pool.min if pool else None,
        max_workers=pool.max if pool else None,
    )
