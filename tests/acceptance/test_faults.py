"""What may happen to a cluster while a run trains on it into a bucket: each fault a row, with what it costs.

`make acceptance` has the rows that stand for the others, `make faults` all.
"""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests import tiny_set
from tests.acceptance.nodes import ISOLATED, MLFLOW_PORT, OUTSIDE, S3_PORT, Nodes, cluster, end
from tests.acceptance.servers import BUCKET_KEYS, Server, mlflow_server, postgres_server
from tests.storage.line import Line
from yolab.data.copies import publish
from yolab.data.pack import pack
from yolab.experiment import build
from yolab.storage import Storage, bucket, storage_at
from yolab.storage.checkpoints import Checkpoints, fetched
from yolab.tracking import mlflow_runs
from yolab.tracking.metric_names import in_mlflow

EPOCHS, BATCHES = 14, 3
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not ISOLATED, reason="namespaces need root and iproute2"),
]


@dataclass
class Lab:
    """A cluster of four nodes, and the servers beside it."""

    nodes: Nodes
    line: Line
    postgres: Server
    mlflow: Server
    uri: str
    folder: Path
    undisturbed: Path


@dataclass
class Run:
    """A run by two workers that trains at this moment."""

    lab: Lab
    name: str
    overrides: tuple[str, ...] = ()
    running: "subprocess.Popen[str]" = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def place(self) -> Storage:
        return storage_at(f"s3://lab/runs/{self.name}")

    def start(self, *more: str, node: int = 0) -> None:
        train = [
            sys.executable,
            "-m",
            "yolab.cli",
            "train",
            "tiny.yaml",
            f"name={self.name}",
            "--json",
            *self.overrides,
            *more,
        ]
        told = {"YOLAB_STORAGE": "s3://lab/runs", "MLFLOW_TRACKING_URI": self.lab.uri}
        self.running = self.lab.nodes.start(train, self.lab.folder, node, **told)

    def epochs(self) -> list[int]:
        """Return the epochs as they were done, those that were repeated more than once."""
        log = self.place.read("log.txt").decode() if self.place.exists("log.txt") else ""
        return [int(epoch) for epoch in re.findall(r"INFO epoch (\d+) ", log)]

    def wait_for(self, done: int) -> None:
        """Wait until so many epochs were done."""
        deadline = time.monotonic() + 200
        while len(self.epochs()) < done:
            assert time.monotonic() < deadline, self.place.read("log.txt").decode()
            assert self.running.poll() is None, self.running.communicate()
            time.sleep(0.2)

    def workers(self) -> list[tuple[int, psutil.Process]]:
        """Return the processes that train, each with its node."""
        found = []
        for node in range(4):
            for process in self.lab.nodes.processes(node):
                try:
                    if "RayTrainWorker" in " ".join(process.cmdline()):
                        found.append((node, process))
                except psutil.Error:
                    continue
        assert found
        return found

    def other_node(self) -> int:
        """Return a node with a worker, that isn't the head."""
        return next(node for node, _ in self.workers() if node > 0)


def kill_a_worker(run: Run) -> None:
    run.workers()[-1][1].kill()


def kill_before_a_checkpoint_is_announced(run: Run) -> None:
    checkpoints, deadline = run.place / "checkpoints", time.monotonic() + 60
    while all(checkpoints.exists(f"{name}/manifest.json") for name in checkpoints.names()):
        assert time.monotonic() < deadline
    for _, worker in run.workers():
        worker.kill()


def stop_a_worker(run: Run) -> None:
    run.workers()[-1][1].send_signal(signal.SIGSTOP)


def kill_a_node(run: Run) -> None:
    run.lab.nodes.kill(run.other_node())


def kill_a_node_while_mlflow_is_away(run: Run) -> None:
    run.lab.mlflow.stop()
    kill_a_node(run)
    threading.Timer(20, run.lab.mlflow.start).start()


def kill_the_driver_and_go_on_from_another_machine(run: Run) -> None:
    end(run.running)
    run.start("--resume", node=1)


def kill_the_head_and_go_on(run: Run) -> None:
    nodes = run.lab.nodes
    for node in reversed(range(4)):
        nodes.kill(node)
    run.running.wait()
    nodes.begin(0)
    nodes.wait_for(1)
    for node in range(1, 4):
        nodes.begin(node)
    nodes.wait_for(4)
    run.start("--resume")


def cut_a_node_off_for_30_seconds(run: Run) -> None:
    node = run.other_node()
    run.lab.nodes.cut(node)
    threading.Timer(30, run.lab.nodes.mend, (node,)).start()


def take_mlflow_away_for_60_seconds(run: Run) -> None:
    run.lab.mlflow.stop()
    threading.Timer(60, run.lab.mlflow.start).start()


def begin_postgresql_again(run: Run) -> None:
    run.lab.postgres.stop()
    run.lab.postgres.start()


def answer_503_for_30_seconds_then_cut_an_upload(run: Run) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        run.lab.line.faults = ["busy"] * 100
        time.sleep(0.1)
    run.lab.line.faults = ["cut"]


def announce_that_a_node_is_taken_away(run: Run) -> None:
    nodes, node = run.lab.nodes, run.other_node()
    [found] = [each for each, address in nodes.there().items() if address == nodes.address(node)]
    drain = [str(Path(sys.executable).with_name("ray")), "drain-node", "--node-id", found]
    drain += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    drain += ["--deadline-remaining-seconds", "20"]
    done = nodes.run(drain, run.lab.folder)
    assert done.returncode == 0, done.stderr


IN_ACCEPTANCE = (
    kill_before_a_checkpoint_is_announced,
    stop_a_worker,
    kill_a_node_while_mlflow_is_away,
    kill_the_driver_and_go_on_from_another_machine,
    answer_503_for_30_seconds_then_cut_an_upload,
    announce_that_a_node_is_taken_away,
)
FAULTS = (
    *IN_ACCEPTANCE,
    kill_a_worker,
    kill_a_node,
    kill_the_head_and_go_on,
    cut_a_node_off_for_30_seconds,
    take_mlflow_away_for_60_seconds,
    begin_postgresql_again,
)


@pytest.fixture(scope="module")
def lab(small_set: Path, s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    changes = {
        "recipe__epochs": EPOCHS,
        "recipe__evaluate_every": EPOCHS,
        "compute__shards": 2,
    }
    described = build({}, tiny_set.experiment(small_set, **changes), "test").model_dump()
    (folder / "alone.yaml").write_text(yaml.safe_dump(described))
    elsewhere = {
        "compute": described["compute"] | {"workers": {"min": 1, "max": 2}},
        "data": described["data"] | {"path": "s3://lab/small"},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(described | elsewhere))
    alone = [sys.executable, "-m", "yolab.cli", "train", "alone.yaml", "--storage", "alone", "--json"]
    subprocess.run(alone, cwd=folder, check=True, capture_output=True)
    with cluster(folder, 4) as nodes, pytest.MonkeyPatch.context() as patch:
        for name, value in {**BUCKET_KEYS, "AWS_ENDPOINT_URL": s3_server}.items():
            patch.setenv(name, value)
        bucket._client.cache_clear()
        boto3.client("s3").create_bucket(Bucket="lab")
        pack(small_set, folder / "packed")
        publish(folder / "packed", storage_at("s3://lab/small"))
        line = Line(s3_server, OUTSIDE, S3_PORT)
        threading.Thread(target=line.serve_forever, daemon=True).start()
        with (
            postgres_server() as (postgres, store),
            mlflow_server(folder, MLFLOW_PORT, OUTSIDE, store) as mlflow,
        ):
            uri = f"http://{OUTSIDE}:{MLFLOW_PORT}"
            yield Lab(nodes, line, postgres, mlflow, uri, folder, folder / "alone" / "tiny")
        line.shutdown()
    bucket._client.cache_clear()


@pytest.fixture(autouse=True)
def _whole(lab: Lab) -> Iterator[None]:
    """Make the lab whole again."""
    yield
    lab.line.faults = []
    if not lab.mlflow.runs():
        lab.mlflow.start()
    there = lab.nodes.there().values()
    for node in range(4):
        if lab.nodes.address(node) not in there:  # it may have left the cluster, and still run
            lab.nodes.kill(node)
            lab.nodes.begin(node)
    lab.nodes.wait_for(4)


@pytest.mark.parametrize(
    "strike",
    [
        pytest.param(
            fault,
            id=fault.__name__.replace("_", " "),
            marks=[pytest.mark.faults, *([pytest.mark.acceptance] if fault in IN_ACCEPTANCE else [])],
        )
        for fault in FAULTS
    ],
)
def test_nothing_is_lost_or_doubled_and_the_weights_are_those_of_an_undisturbed_run(
    strike: Callable[[Run], None], lab: Lab, tmp_path: Path
) -> None:
    quick = ("compute.hang_minutes=0.25",) if strike is stop_a_worker else ()
    run = Run(lab, f"run-{FAULTS.index(strike)}", quick)
    try:
        run.wait_for(3)
        struck = time.monotonic()
        strike(run)
        before = len(run.epochs())
        run.wait_for(before + 1)
        seconds = time.monotonic() - struck
        out, errors = run.running.communicate(timeout=300)
    finally:
        end(run.running)
    assert run.running.returncode == 0, errors
    assert "Traceback" not in errors
    while not lab.mlflow.answers():
        time.sleep(1)
    if "has yet to hear" in errors:  # the run was over before MLflow was back: what is left is sent by a resume
        run.start("--resume")
        out, errors = run.running.communicate(timeout=120)
        assert run.running.returncode == 0, errors
    assert out.startswith("{"), out
    learned = load_file(run.place.local("weights.safetensors", tmp_path))
    undisturbed = load_file(lab.undisturbed / "weights.safetensors")
    assert all(torch.equal(learned[name], undisturbed[name]) for name in undisturbed)
    history = mlflow_runs.client(lab.uri).get_metric_history(json.loads(out)["run_id"], in_mlflow("loss"))
    assert sorted(point.step for point in history) == list(range(1, EPOCHS + 1))
    for checkpoint in Checkpoints(run.place).candidates():
        with fetched(checkpoint):
            pass  # whole, as its manifest says
    figures = {
        "seconds to the next epoch": round(seconds, 1),
        "steps repeated": BATCHES * (len(run.epochs()) - EPOCHS),
    }
    print(f"{strike.__name__}: {figures}")
