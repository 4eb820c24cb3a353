"""A cluster of four nodes that share nothing but a bucket, with PostgreSQL, MLflow and an S3 server beside it; and what
may happen to it while something runs there."""

import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import psutil
import pytest

from tests.acceptance.nodes import MLFLOW_PORT, OUTSIDE, S3_PORT, Nodes, cluster, end
from tests.acceptance.servers import BUCKET_KEYS, Server, mlflow_server, postgres_server
from tests.storage.line import Line
from yolab.data.copies import publish
from yolab.data.pack import pack
from yolab.storage import bucket, storage_at

NODES = 4
DATA, RUNS = "s3://lab/small", "s3://lab/runs"
YOLAB = [sys.executable, "-m", "yolab.cli"]


@dataclass
class Lab:
    """`folder`: from where commands are called."""

    nodes: Nodes
    line: Line
    postgres: Server
    mlflow: Server
    uri: str
    folder: Path

    def start(self, *words: str, node: int = 0) -> "subprocess.Popen[str]":
        """Start a command of yolab on a node."""
        told = {"YOLAB_STORAGE": RUNS, "MLFLOW_TRACKING_URI": self.uri}
        return self.nodes.start([*YOLAB, *words], self.folder, node, **told)

    def submit(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command of yolab on the cluster, from a machine that is no node of it."""
        told = {"YOLAB_STORAGE": RUNS, "MLFLOW_TRACKING_URI": self.uri}
        told |= {"RAY_API_SERVER_ADDRESS": f"http://{self.nodes.address(0)}:8265"}
        return subprocess.Popen(
            [*YOLAB, "submit", *words],
            cwd=self.folder,
            env=self.nodes.environment | told,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def workers(self) -> list[tuple[int, psutil.Process]]:
        """Return the processes that train, each with its node."""
        found = []
        for node in range(NODES):
            for process in self.nodes.processes(node):
                try:
                    if any(kind in " ".join(process.cmdline()) for kind in ("RayTrainWorker", "ImplicitFunc")):
                        found.append((node, process))
                except psutil.Error:
                    continue
        return found

    def other_node(self) -> int:
        """Return a node with a worker, that isn't the head; else the last."""
        return next((node for node, _ in self.workers() if node > 0), NODES - 1)

    def make_whole(self) -> None:
        """Begin again what is away, and wait until it is there."""
        self.line.faults = []
        if not self.postgres.runs():
            self.postgres.start()
        if not self.mlflow.runs():
            self.mlflow.start()
        there = self.nodes.there().values()
        for node in range(NODES):
            self.nodes.mend(node)
            self.nodes.empty(node)
            # it may have left the cluster, and still run; or be counted there, and have ended
            if self.nodes.address(node) not in there or not self.nodes.runs(node):
                self.nodes.kill(node)
                self.nodes.begin(node)
        self.nodes.wait_for(NODES)


@contextmanager
def laboratory(folder: Path, data: Path, s3_server: str) -> Iterator[Lab]:
    """Give a lab whose bucket has a data set, packed, as `DATA`."""
    with cluster(folder, NODES, dashboard=True) as nodes, pytest.MonkeyPatch.context() as patch:
        for name, value in {**BUCKET_KEYS, "AWS_ENDPOINT_URL": s3_server}.items():
            patch.setenv(name, value)
        bucket._client.cache_clear()
        boto3.client("s3").create_bucket(Bucket="lab")
        pack(data, folder / "packed")
        publish(folder / "packed", storage_at(DATA))
        line = Line(s3_server, OUTSIDE, S3_PORT)
        threading.Thread(target=line.serve_forever, daemon=True).start()
        with postgres_server() as (postgres, store), mlflow_server(folder, MLFLOW_PORT, OUTSIDE, store) as mlflow:
            yield Lab(nodes, line, postgres, mlflow, f"http://{OUTSIDE}:{MLFLOW_PORT}", folder)
        line.shutdown()
    bucket._client.cache_clear()


class Work(ABC):
    """Something that runs in a lab at this moment: `running` is its driver."""

    lab: Lab
    running: "subprocess.Popen[str]"

    @abstractmethod
    def go_on(self, node: int = 0) -> None:
        """Start its driver again."""


def kill_a_worker(work: Work) -> None:
    for _, worker in work.lab.workers()[-1:]:
        worker.kill()


def stop_a_worker(work: Work) -> None:
    for _, worker in work.lab.workers()[-1:]:
        worker.send_signal(signal.SIGSTOP)


def kill_a_node(work: Work) -> None:
    work.lab.nodes.kill(work.lab.other_node())


def kill_a_node_while_mlflow_is_away(work: Work) -> None:
    work.lab.mlflow.stop()
    kill_a_node(work)
    threading.Timer(20, work.lab.mlflow.start).start()


def kill_the_driver_and_go_on_from_another_machine(work: Work) -> None:
    end(work.running)
    work.go_on(node=1)


def kill_the_head_and_go_on(work: Work) -> None:
    nodes = work.lab.nodes
    for node in reversed(range(NODES)):
        nodes.kill(node)
    work.running.wait()
    nodes.begin(0)
    nodes.wait_for(1)
    for node in range(1, NODES):
        nodes.begin(node)
    nodes.wait_for(NODES)
    work.go_on()


def cut_a_node_off_for_30_seconds(work: Work) -> None:
    node = work.lab.other_node()
    work.lab.nodes.cut(node)
    threading.Timer(30, work.lab.nodes.mend, (node,)).start()


def take_mlflow_away_for_60_seconds(work: Work) -> None:
    work.lab.mlflow.stop()
    threading.Timer(60, work.lab.mlflow.start).start()


def begin_postgresql_again(work: Work) -> None:
    work.lab.postgres.stop()
    work.lab.postgres.start()


def answer_503(work: Work, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        work.lab.line.faults = ["busy"] * 100
        time.sleep(0.1)


def answer_503_for_30_seconds_then_cut_an_upload(work: Work) -> None:
    answer_503(work, 30)
    work.lab.line.faults = ["cut"]


def announce_that_a_node_is_taken_away(work: Work) -> None:
    nodes, node = work.lab.nodes, work.lab.other_node()
    drain = [str(Path(sys.executable).with_name("ray")), "drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    drain += ["--reason-message", "spot", "--deadline-remaining-seconds", "20"]
    done = nodes.run(drain, work.lab.folder, node)
    assert done.returncode == 0, done.stderr


def fill_the_disks_and_go_on_when_they_are_free(work: Work) -> None:
    nodes = work.lab.nodes
    for node in range(NODES):
        nodes.fill(node)
    _, errors = work.running.communicate(timeout=120)
    assert work.running.returncode == 1, errors
    assert errors.splitlines()[-1].startswith(f"error: The disk of {nodes.scratch} on the node "), errors
    for node in range(NODES):
        nodes.empty(node)
    work.go_on()
