"""RayCluster and RayJob of KubeRay 1.6: https://ray-project.github.io/kuberay/reference/api."""

import shlex
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from deploy.description import TRIAL, Lab, Machine, Pool

_GRACE_SECONDS = 120  # from the notice that a spot machine goes, to its end
# the cluster hears that the node goes: what trains there saves its state, and goes on without it
_LEAVING = (
    "ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message 'the pod ends' "
    f"--deadline-remaining-seconds {_GRACE_SECONDS}; sleep {_GRACE_SECONDS // 2}"
)
_TRIES = 6  # of a job whose head was lost: it goes on. KubeRay doesn't ask whether it failed by itself
_IDLE_SECONDS = 300
_KEPT_SECONDS = 600  # of a cluster whose job has ended


class Manifest(BaseModel):
    """A part of a manifest; fields are written as Kubernetes does, in camel case."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True)


class Container(Manifest):
    name: str
    image: str
    resources: dict[str, dict[str, str]]
    env: list[dict[str, str]]
    env_from: list[dict[str, dict[str, str]]]
    volume_mounts: list[dict[str, str]]
    security_context: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    lifecycle: dict[str, Any] | None = None


class Pod(Manifest):
    containers: list[Container]
    volumes: list[dict[str, Any]]
    security_context: dict[str, Any] = {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000}
    termination_grace_period_seconds: int = _GRACE_SECONDS
    tolerations: list[dict[str, str]] | None = None
    node_selector: dict[str, str] | None = None


class PodTemplate(Manifest):
    spec: Pod


class HeadGroup(Manifest):
    ray_start_params: dict[str, str]
    template: PodTemplate


class WorkerGroup(Manifest):
    group_name: str
    replicas: int
    min_replicas: int
    max_replicas: int
    ray_start_params: dict[str, str]
    template: PodTemplate


class AuthOptions(Manifest):
    mode: str = "token"  # KubeRay makes one for each cluster, in a Secret of its name


class AutoscalerOptions(Manifest):
    version: str = "v2"
    idle_timeout_seconds: int = _IDLE_SECONDS


class RayClusterSpec(Manifest):
    ray_version: str
    auth_options: AuthOptions = AuthOptions()
    enable_in_tree_autoscaling: bool = True
    autoscaler_options: AutoscalerOptions = AutoscalerOptions()
    head_group_spec: HeadGroup
    worker_group_specs: list[WorkerGroup]


class RayJobSpec(Manifest):
    entrypoint: str
    backoff_limit: int = _TRIES
    shutdown_after_job_finishes: bool = True
    ttl_seconds_after_finished: int = _KEPT_SECONDS
    ray_cluster_spec: RayClusterSpec


def ray_cluster(lab: Lab) -> dict[str, Any]:
    """Return the manifest of a cluster that stays, for `yolab submit`."""
    return _manifest("RayCluster", lab.name, _cluster(lab))


def ray_job(lab: Lab) -> dict[str, Any]:
    """Return the manifest of a cluster that runs one command, and goes when that has ended."""
    job = RayJobSpec(entrypoint=shlex.join(lab.command), ray_cluster_spec=_cluster(lab))
    return _manifest("RayJob", lab.name, job)


def _manifest(kind: str, name: str, spec: Manifest) -> dict[str, Any]:
    told = spec.model_dump(by_alias=True, exclude_none=True)
    return {"apiVersion": "ray.io/v1", "kind": kind, "metadata": {"name": name}, "spec": told}


def _cluster(lab: Lab) -> RayClusterSpec:
    trial = ", ".join(f'\\"{name}\\": {count}' for name, count in TRIAL.items())
    head = HeadGroup(
        ray_start_params={"num-cpus": "0", "resources": f'"{{{trial}}}"'},
        template=PodTemplate(spec=_pod(lab, "ray-head", lab.head)),
    )
    groups = [
        WorkerGroup(
            group_name=pool.name,
            replicas=pool.min,
            min_replicas=pool.min,
            max_replicas=pool.max,
            ray_start_params={},
            template=PodTemplate(spec=_pod(lab, "ray-worker", pool)),
        )
        for pool in lab.pools
    ]
    return RayClusterSpec(ray_version=metadata.version("ray"), head_group_spec=head, worker_group_specs=groups)


def _pod(lab: Lab, name: str, machine: Machine) -> Pod:
    room = {"cpu": str(machine.cpus), "memory": f"{machine.memory_gib}Gi"}
    room |= {"nvidia.com/gpu": str(machine.gpus)} if machine.gpus else {}
    spot = isinstance(machine, Pool) and machine.spot
    leaving = {"preStop": {"exec": {"command": ["sh", "-c", _LEAVING]}}}
    tolerated = [*(["nvidia.com/gpu"] if machine.gpus else []), *(["spot"] if spot else [])]
    container = Container(
        name=name,
        image=lab.image,
        resources={"limits": room, "requests": room},
        env=[{"name": key, "value": value} for key, value in lab.variables.items()],
        env_from=[{"secretRef": {"name": lab.secret}}],
        volume_mounts=[{"name": "cache", "mountPath": lab.variables["XDG_CACHE_HOME"]}],
        lifecycle=leaving if isinstance(machine, Pool) else None,
    )
    return Pod(
        containers=[container],
        volumes=[{"name": "cache", "emptyDir": {}}],
        tolerations=[{"key": key, "operator": "Exists"} for key in tolerated] or None,
        node_selector={"spot": "true"} if spot else None,
    )
