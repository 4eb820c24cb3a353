"""What each node of a cluster is, has and reaches, as it says itself."""

import os
import platform
import shutil
import socket
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import ray
import torch

from yolab.cluster.connect import connected, resources_of
from yolab.cluster.nodes import ask_nodes, mark
from yolab.errors import YolabError
from yolab.storage import Storage, storage_at
from yolab.tracking import mlflow_runs

PACKAGES = ("yolab", "torch", "ray", "mlflow")
_ANSWER_SECONDS, _PATIENCE_SECONDS = 3.0, 40.0


@dataclass(frozen=True)
class Node:
    """One node: `resources` it gives to Ray, CPU cores and GPUs; `clock`: seconds that its clock is ahead of the one
    here, to within `uncertain`; `free`: bytes for temporary files; what it can't reach, in words; `metrics_open`:
    whether everybody reads its metrics."""

    address: str
    host: str
    resources: tuple[int, int]
    python: str
    versions: dict[str, str]
    gpus: tuple[str, ...]
    clock: float
    uncertain: float
    free: int
    unreached: tuple[str, ...]
    metrics_open: bool


def examine(place: str, uri: str) -> tuple[list[Node], list[str], bool]:
    """Return all nodes, as they are and what each can't reach of the storage and MLflow; the addresses of those that
    don't answer; and whether the cluster asks for a token. Raises UsageError if there is no cluster."""
    with connected():
        nodes = [node for node in ray.nodes() if node["Alive"]]
        storage = storage_at(place)
        try:
            storage.knock()
            marked = mark(storage) if storage.exists() else nullcontext()
        except YolabError:  # each node says so for itself
            marked = nullcontext()
        with marked as made:
            began = time.time()
            answers = ask_nodes(nodes, _answer, storage, made, uri, patience=_PATIENCE_SECONDS)
            took = time.time() - began
        with ThreadPoolExecutor() as pool:
            is_open = pool.map(_is_open, nodes)
        found = [
            Node(
                address=node["NodeManagerAddress"],
                resources=resources_of(node),
                clock=answer.pop("time") - (began + took / 2),
                uncertain=took / 2,
                metrics_open=open_to_all,
                **answer,
            )
            for node, answer, open_to_all in zip(nodes, answers, is_open)
            if answer is not None
        ]
        silent = [node["NodeManagerAddress"] for node, answer in zip(nodes, answers) if answer is None]
    return found, silent, os.environ.get("RAY_AUTH_MODE") == "token"


def _answer(storage: Storage, made: str | None, uri: str) -> dict[str, object]:
    now = time.time()
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides the GPUs from who occupies none
    unreached = []
    try:
        storage.knock()
        if made and not storage.exists(made):
            unreached.append(f"it has no {storage}, or another than the one here")
        if not uri.startswith("sqlite:"):  # which the driver alone writes to
            mlflow_runs.check_answers(uri)
    except YolabError as error:
        unreached.append(str(error))
    versions = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "time": now,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "versions": versions,
        "gpus": tuple(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())),
        "free": shutil.disk_usage(tempfile.gettempdir()).free,
        "unreached": tuple(unreached),
    }


def _is_open(node: dict[str, Any]) -> bool:
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS):
            return True
    except OSError:
        return False
