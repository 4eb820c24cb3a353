"""What this machine and cluster can do, and what is missing."""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from yolab.errors import UsageError, YolabError
from yolab.jobs.result import Result
from yolab.jobs.session import Session
from yolab.storage import Storage
from yolab.tracking import mlflow_runs, mlflow_uri
from yolab.tracking.data_version import data_version

GIB = 2**30
ROOM_GIB = 1.0  # a short run with its checkpoints and database
MOST_SKEW_SECONDS = 2.0  # of a node's clock: nothing depends on it, but logs are hard to read
CONNECT_SECONDS = 3.0
CLUSTER_SECONDS, NODES_SECONDS = 30.0, 90.0  # connecting takes about 5, what each node says more


class Check(NamedTuple):
    """One finding: `advice` says what to do where it isn't ok; what isn't needed doesn't make the doctor complain."""

    what: str
    value: str
    ok: bool = True
    needed: bool = True
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis(Result):
    """What was found; the exit code is 1 if something needed is missing."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok or not check.needed for check in self.checks)

    @property
    def exit_code(self) -> int:
        return 0 if self.ok else YolabError.exit_code

    def document(self) -> dict[str, Any]:
        return {"ok": self.ok, "checks": [check._asdict() for check in self.checks]}


def doctor(*, cluster: bool = False, storage: str | Path | None = None) -> Diagnosis:
    """Look at what this machine, the cluster that RAY_ADDRESS names and MLflow can do; at each node of the `cluster`,
    if that is wanted. What is missing raises nothing: it is a finding."""
    session = Session.at(storage)
    places = (_storage(session.place), _mlflow(session), _room(), _data(Path("data")))
    found = _cluster()
    if cluster and all(check.ok for check in found):
        found += _nodes(session)
    return Diagnosis((_python(), *_packages(), *_machine(), *_torch(), *found, *places))


def _python() -> Check:
    ok = (3, 11) <= sys.version_info < (3, 13)
    return Check("python", platform.python_version(), ok, advice="" if ok else "make .venv with Python 3.11 or 3.12")


def _packages() -> list[Check]:
    cluster = "pip install 'yolab[cluster]'"
    wanted = (("torch", True, "pip install yolab"), ("mlflow", True, "pip install yolab"))
    optional = (("ray", False, f"{cluster}, for sweeps and several workers"), ("dvc", False, f"{cluster}, to pin data"))
    return [_package(*each) for each in (*wanted, *optional)]


def _package(name: str, needed: bool, advice: str) -> Check:
    version = _version(name)
    return Check(name, version) if version else Check(name, "not installed", False, needed, advice)


def _version(package: str) -> str | None:
    """Return its version without importing it, which takes seconds."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> list[Check]:
    memory = psutil.virtual_memory()
    return [
        Check("cores", str(os.cpu_count() or 1)),
        Check("memory", f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB of it free"),
    ]


def _torch() -> list[Check]:
    """Look at the GPUs, and at the precision that `auto` means here."""
    try:  # here and not above: a torch that can't be imported is what a doctor has to find
        import torch

        from yolab.models.device import choose_device
        from yolab.training.precision import Precision
    except (ImportError, OSError) as error:  # a package with missing libraries
        return [Check("training", f"can't be imported: {error}", False, advice="install yolab anew")]
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    device = choose_device()
    name = Precision.of("auto", device).name
    native = name == "bf16"
    precision = f"bf16, native on the {device.type}" if native else f"{name}, the {device.type} has no native bf16"
    return [Check("gpus", ", ".join(gpus) or "none, training runs on the CPU"), Check("precision", precision)]


def _cluster() -> list[Check]:
    """Look at the Ray cluster; no line without Ray, whose own line says so."""
    if _version("ray") is None:
        return []
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return [Check("cluster", "none (RAY_ADDRESS isn't set): work starts its own on this machine")]
    try:
        _knock(address)
        has = _ask("from yolab.cluster.capacity import capacity as c; print(c())")
    except (OSError, subprocess.SubprocessError) as error:
        advice = "start the cluster, or correct or unset RAY_ADDRESS"
        return [Check("cluster", f"{address} doesn't answer: {_short(error)}", False, advice=advice)]
    return [Check("cluster", f"{address}: {has}")]


def _nodes(session: Session) -> list[Check]:
    """Look at each node of the cluster: a line for each, and one for what all of them leave open."""
    if not os.environ.get("RAY_ADDRESS"):
        return [Check("nodes", "none: --cluster is about a cluster", False, needed=False, advice="set RAY_ADDRESS")]
    try:
        question = "import dataclasses, json, sys; from yolab.cluster.examination import examine; "
        question += "nodes, *rest = examine(*json.load(sys.stdin)); "
        question += "print(json.dumps([[dataclasses.asdict(node) for node in nodes], *rest]))"
        nodes, silent, token = json.loads(_ask(question, str(session.place), session.uri, seconds=NODES_SECONDS))
    except (YolabError, subprocess.SubprocessError) as error:
        return [Check("nodes", f"can't be asked: {_short(error)}", False, advice="look at `ray status`")]
    here = {package: _version(package) for node in nodes for package in node["versions"]}
    found = [_node(node, here) for node in nodes]
    found += [Check(f"node {address}", "doesn't answer", False, advice="end it, and begin it again")
              for address in silent]  # fmt: skip
    advice = "set RAY_AUTH_MODE=token on all nodes, and give them one token: docs/cluster.md"
    found.append(Check("token", "asked for" if token else "none: who reaches the head runs what he likes",
                       token, needed=False, advice="" if token else advice))  # fmt: skip
    readable = [node["address"] for node in nodes if node["metrics_open"]]
    if readable:
        told = f"everybody in the network reads those of {len(readable)} nodes, such as {readable[0]}"
        found.append(Check("metrics", told, False, needed=False, advice="close the nodes' ports to others"))
    return found


def _node(node: dict[str, Any], here: dict[str, str | None]) -> Check:
    faults = [f"{name} {node['versions'].get(name)} there, {version} here" for name, version in here.items()
              if node["versions"].get(name) != version]  # fmt: skip
    if node["python"] != platform.python_version():
        faults.append(f"Python {node['python']} there, {platform.python_version()} here")
    if abs(node["clock"]) > MOST_SKEW_SECONDS + node["uncertain"]:
        faults.append(f"its clock is {node['clock']:+.0f} s off")
    if node["free"] < ROOM_GIB * GIB:
        faults.append(f"{node['free'] / GIB:.1f} GiB left for temporary files")
    faults += map(_shortened, node["unreached"])
    cpus, gpus = node["resources"]
    has = f"{node['host']}, {cpus} CPUs, {', '.join(node['gpus']) or f'{gpus} GPUs'}, {node['free'] / GIB:.0f} GiB free"
    advice = "mend that on the node, and begin its `ray start` again" if faults else ""
    return Check(f"node {node['address']}", "; ".join(faults) or has, not faults, advice=advice)


def _ask(code: str, *arguments: str, seconds: float = CLUSTER_SECONDS) -> str:
    """Return what Python prints last, asked about the cluster. In a process of its own, since Ray waits for minutes
    where something else than Ray answers, and can't be told not to. The arguments, which may have a password, are its
    input. Raises SubprocessError."""
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command, input=json.dumps(arguments), capture_output=True, text=True, timeout=seconds, check=True
        )
    except subprocess.CalledProcessError as error:
        raise subprocess.SubprocessError(error.stderr.strip().rpartition("\n")[2]) from error
    except subprocess.TimeoutExpired:
        raise subprocess.SubprocessError(f"no Ray cluster within {seconds:.0f} s") from None
    return done.stdout.strip().rpartition("\n")[2]


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at host:port, which Ray takes minutes to notice; other addresses pass."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def _storage(storage: Storage) -> Check:
    try:
        storage.require_writable()
    except YolabError as error:
        return Check("storage", _short(error), False, advice="correct --storage or YOLAB_STORAGE, or what it needs")
    return Check("storage", f"{storage}, takes files")


def _mlflow(session: Session) -> Check:
    try:
        uri = session.uri
        shown = mlflow_uri.without_password(uri)
        if mlflow_uri.database_is_missing(uri):
            return Check("mlflow uri", f"{shown}, made by the first run")
        mlflow_runs.check_answers(uri)
    except YolabError as error:
        advice = "start the server, or correct or unset MLFLOW_TRACKING_URI"
        return Check("mlflow uri", _short(error), False, advice=advice)
    return Check("mlflow uri", f"{shown}, answers")


def _room() -> Check:
    free_gib = shutil.disk_usage(Path.cwd()).free / GIB
    ok = free_gib >= ROOM_GIB
    advice = "" if ok else f"make room: a run needs about {ROOM_GIB:.0f} GiB"
    return Check("disk", f"{free_gib:.1f} GiB free in the current folder", ok, advice=advice)


def _data(folder: Path) -> Check:
    if not folder.is_dir():
        return Check("data", f"no {folder}/ here", False, needed=False, advice="yolab data demo draws a small set")
    try:
        version = data_version(folder)
    except UsageError as error:
        return Check("data", "the pin can't be read", False, advice=str(error))
    if version is None:
        return Check("data", "not pinned", False, needed=False, advice=f"yolab data version {folder} --pin")
    return Check("data", f"{version.md5}, {version.nfiles} files, pinned by {version.pin_file.name}")


def _short(error: Exception) -> str:
    """Return the beginning of what others' errors say, which may be pages."""
    return _shortened(str(error))


def _shortened(text: str) -> str:
    return textwrap.shorten(text, 160, placeholder=" …")
