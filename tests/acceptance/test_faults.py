"""What may happen to a cluster while a run trains on it into a bucket: each fault a row, with what it costs.

`make acceptance` has the rows that stand for the others, `make faults` all.
"""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests import tiny_set
from tests.acceptance.lab import (
    DATA,
    NODES,
    RUNS,
    YOLAB,
    Lab,
    Work,
    announce_that_a_node_is_taken_away,
    answer_503_for_30_seconds_then_cut_an_upload,
    begin_postgresql_again,
    cut_a_node_off_for_30_seconds,
    fill_the_disks_and_go_on_when_they_are_free,
    kill_a_node,
    kill_a_node_while_mlflow_is_away,
    kill_a_worker,
    kill_the_driver_and_go_on_from_another_machine,
    kill_the_head_and_go_on,
    laboratory,
    stop_a_worker,
    take_mlflow_away_for_60_seconds,
)
from tests.acceptance.nodes import ISOLATED, end
from yolab.experiment import build
from yolab.search.sweep_folder import SweepFolder
from yolab.storage import Storage, storage_at
from yolab.storage.checkpoints import Checkpoints, fetched
from yolab.tracking import mlflow_runs
from yolab.tracking.metric_names import in_mlflow

EPOCHS, BATCHES = 14, 3
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not ISOLATED, reason="namespaces need root and iproute2"),
]


@dataclass
class Run(Work):
    """A run by two workers that trains at this moment."""

    lab: Lab
    name: str
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._start()

    def go_on(self, node: int = 0) -> None:
        self._start("--resume", node=node)

    def _start(self, *more: str, node: int = 0) -> None:
        self.running = self.lab.start(*self.words, *more, node=node)

    @property
    def words(self) -> tuple[str, ...]:
        return ("train", "tiny.yaml", f"name={self.name}", "--json", *self.overrides)

    @property
    def place(self) -> Storage:
        return storage_at(f"{RUNS}/{self.name}")

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


def kill_before_a_checkpoint_is_announced(run: Run) -> None:
    checkpoints, deadline = run.place / "checkpoints", time.monotonic() + 60
    while all(checkpoints.exists(f"{name}/manifest.json") for name in checkpoints.names()):
        assert time.monotonic() < deadline
    for _, worker in run.lab.workers():
        worker.kill()


IN_ACCEPTANCE = (
    kill_before_a_checkpoint_is_announced,
    stop_a_worker,
    kill_a_node_while_mlflow_is_away,
    answer_503_for_30_seconds_then_cut_an_upload,
    announce_that_a_node_is_taken_away,
)
FAULTS = (
    *IN_ACCEPTANCE,
    kill_the_driver_and_go_on_from_another_machine,
    kill_a_worker,
    kill_a_node,
    kill_the_head_and_go_on,
    cut_a_node_off_for_30_seconds,
    take_mlflow_away_for_60_seconds,
    begin_postgresql_again,
    fill_the_disks_and_go_on_when_they_are_free,
)


@pytest.fixture(scope="module")
def lab(small_set: Path, s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    changes = {"recipe__epochs": EPOCHS, "recipe__evaluate_every": EPOCHS, "compute__shards": 2}
    described = build({}, tiny_set.experiment(small_set, **changes), "test").model_dump()
    (folder / "alone.yaml").write_text(yaml.safe_dump(described))
    elsewhere = {
        "compute": described["compute"] | {"workers": {"min": 1, "max": 2}},
        "data": described["data"] | {"path": DATA},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(described | elsewhere))
    alone = [*YOLAB, "train", "alone.yaml", "--storage", "alone", "--json"]
    subprocess.run(alone, cwd=folder, check=True, capture_output=True)
    with laboratory(folder, small_set, s3_server) as lab:
        yield lab


@pytest.fixture(autouse=True)
def _whole(lab: Lab) -> Iterator[None]:
    yield
    lab.make_whole()


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
    strike: Callable[[Any], None], lab: Lab, tmp_path: Path
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
        run.go_on()
        out, errors = run.running.communicate(timeout=120)
        assert run.running.returncode == 0, errors
    assert out.startswith("{"), out
    require_undisturbed(run, json.loads(out)["run_id"], tmp_path)
    figures = {
        "seconds to the next epoch": round(seconds, 1),
        "steps repeated": BATCHES * (len(run.epochs()) - EPOCHS),
    }
    print(f"{strike.__name__}: {figures}")


def require_undisturbed(run: Run, run_id: str, scratch: Path) -> None:
    """Assert that a run came to what it comes to in peace, that MLflow has each of its epochs once, and that all its
    checkpoints are whole."""
    learned = load_file(run.place.local("weights.safetensors", scratch))
    undisturbed = load_file(run.lab.folder / "alone" / "tiny" / "weights.safetensors")
    assert all(torch.equal(learned[name], undisturbed[name]) for name in undisturbed)
    history = mlflow_runs.client(run.lab.uri).get_metric_history(run_id, in_mlflow("loss"))
    assert sorted(point.step for point in history) == list(range(1, EPOCHS + 1))
    for checkpoint in Checkpoints(run.place).candidates():
        with fetched(checkpoint):
            pass  # whole, as its manifest says


@pytest.mark.faults
def test_a_node_that_loses_workers_twice_is_named_and_avoided(lab: Lab) -> None:
    run = Run(lab, "avoiding", (f"compute.workers={NODES}", f"compute.shards={NODES}"))
    bad = NODES - 1
    try:
        run.wait_for(2)
        dict(lab.workers())[bad].kill()
        run.wait_for(len(run.epochs()) + 2)
        lab.nodes.begin(NODES)  # as many again, without the bad one
        lab.nodes.wait_for(NODES + 1)
        dict(lab.workers())[bad].kill()
        run.wait_for(len(run.epochs()) + 2)
        there = dict(lab.workers())
        _, errors = run.running.communicate(timeout=200)
    finally:
        end(run.running)
        lab.nodes.kill(NODES)
    assert run.running.returncode == 0, errors
    assert sorted(there) == list(range(bad)), there
    assert f"The node {lab.nodes.address(bad)} has lost workers of this run 2 times" in errors


class Submitted(Run):
    """A run that the cluster does for somebody elsewhere."""

    def _start(self, *more: str, node: int = 0) -> None:
        self.running = self.lab.submit(*self.words)

    def go_on(self, node: int = 0) -> None:
        """Who waits for it submits it again when the cluster is back."""


@pytest.mark.acceptance
@pytest.mark.faults
def test_a_submitted_run_survives_a_cut_connection_and_the_loss_of_the_head(lab: Lab, tmp_path: Path) -> None:
    run = Submitted(lab, "submitted")
    try:
        run.wait_for(2)
        end(run.running)  # and the connection with it
        run._start()
        assert "runs already" in run.running.stderr.readline()
        run.wait_for(len(run.epochs()) + 1)
        for node in reversed(range(NODES)):
            lab.nodes.kill(node)
        lab.nodes.begin(0)
        lab.nodes.wait_for(1)
        back = time.monotonic()
        for node in range(1, NODES):
            lab.nodes.begin(node)
        run.wait_for(len(run.epochs()) + 1)
        seconds = time.monotonic() - back
        out, errors = run.running.communicate(timeout=300)
    finally:
        end(run.running)
    assert run.running.returncode == 0, errors
    assert "was lost with its cluster" in errors
    assert seconds < 90
    assert out.count("epoch 1:") <= 1, out
    result = json.loads(out[out.rindex("\n{") :])
    require_undisturbed(run, result["run_id"], tmp_path)
    repeated = BATCHES * (len(run.epochs()) - EPOCHS)
    assert repeated <= BATCHES
    print(f"submitted, the head killed: {seconds:.1f} s from its return to the next epoch, {repeated} steps repeated")


@pytest.mark.faults
def test_a_submitted_run_that_is_cancelled_saves_its_state(lab: Lab) -> None:
    run = Submitted(lab, "cancelled")
    try:
        run.wait_for(2)
        line = run.running.stderr.readline()
        job = re.fullmatch(r"Submitted as (\S+): .*\n", line)[1]
        cancel = lab.submit("--cancel", job)
        _, told = cancel.communicate(timeout=120)
        assert (cancel.returncode, "has stopped" in told) == (0, True), told
        out, errors = run.running.communicate(timeout=60)
    finally:
        end(run.running)
    assert run.running.returncode == 130, errors
    assert "Stopped. Go on with" in out


@pytest.mark.faults
def test_two_sweeps_at_once_are_two_and_a_second_driver_of_one_is_refused(lab: Lab, tmp_path: Path) -> None:
    """Both have the same points: each trial has to learn what the other sweep's learns."""
    (lab.folder / "space.yaml").write_text("assigner.top_k: {randint: [5, 16]}\n")
    search = ("sweep", "tiny.yaml", "compute.workers=1", "--space", "space.yaml", "--trials", "3", "--json")
    one, other = (lab.start(*search, "--name", name, node=node) for node, name in enumerate(("one", "other")))
    try:
        while not SweepFolder(storage_at(f"{RUNS}/one")).rows():
            assert one.poll() is None, one.communicate()
            time.sleep(0.5)
        second = lab.start("sweep", "resume", "one", node=2)
        _, errors = second.communicate(timeout=120)
        assert second.returncode == 2, errors
        assert "Another command works on" in errors
        found = []
        for sweep in (one, other):
            out, errors = sweep.communicate(timeout=400)
            assert sweep.returncode == 0, errors
            found.append({row["trial"]: row for row in json.loads(out)["trials"]})
    finally:
        end(one)
        end(other)
    assert len(found[0]) == 3
    for name, row in found[0].items():
        assert (row["state"], row["point"], row["ap"]) == ("finished", found[1][name]["point"], found[1][name]["ap"])
        ours, theirs = (
            load_file(storage_at(f"{RUNS}/{sweep}/{name}").local("weights.safetensors", tmp_path / sweep))
            for sweep in ("one", "other")
        )
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    runs = [run for run in mlflow_runs.list_runs(lab.uri) if run["parent_id"]]
    assert sorted(run["name"] for run in runs if run["status"] == "FINISHED") == sorted([*found[0], *found[1]])
