"""A run that shrinks and grows with its cluster, and learns the same to the bit."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests import tiny_set
from tests.acceptance.nodes import cluster, end
from tests.reporting import Recorder, folder_reporter, newest, one_thread
from yolab.data import loaded_data
from yolab.experiment import build
from yolab.storage import Folder
from yolab.storage.checkpoints import Checkpoints
from yolab.storage.stop_sign import StopSign
from yolab.tracking.journal import FILE_NAME, read_entries
from yolab.training import loop

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
EPOCHS = 1000  # more than there is time for


def test_a_run_on_nodes_that_die_and_join_learns_what_an_undisturbed_one_does(small_set: Path, tmp_path: Path) -> None:
    changes = {"recipe__epochs": EPOCHS, "recipe__evaluate_every": EPOCHS, "compute__shards": 4}
    experiment = build({}, tiny_set.experiment(small_set, **changes), "test")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(experiment.model_dump()))
    train = [sys.executable, "-m", "yolab.cli", "train", "tiny.yaml", "compute.workers={min: 1, max: 4}"]
    with cluster(tmp_path, 4) as nodes:
        running = nodes.start(train, tmp_path)

        def reached(workers: int) -> Callable[[], bool]:
            """Return whether a checkpoint of another epoch by so many workers is there."""
            after = len(sizes(tmp_path / "runs" / "tiny"))
            return lambda: workers in sizes(tmp_path / "runs" / "tiny")[after:]

        def wait_for(workers: int) -> float:
            """Wait for an epoch by so many workers; return the seconds."""
            there, started = reached(workers), time.monotonic()
            while not there():
                assert time.monotonic() < started + 180, sizes(tmp_path / "runs" / "tiny")
                assert running.poll() is None, running.communicate()
                time.sleep(0.2)
            return time.monotonic() - started

        try:
            seconds = {"to the first epoch": wait_for(4)}
            nodes.kill(3)
            nodes.kill(2)
            seconds["after two nodes were lost"] = wait_for(2)
            nodes.begin(2)
            seconds["after a node has joined"] = wait_for(3)
            next(process for process in nodes.processes(1) if is_worker(process)).kill()
            seconds["after a worker was killed"] = wait_for(3)
            nodes.begin(3)
            seconds["after another has joined"] = wait_for(4)
            StopSign(Folder(tmp_path / "runs" / "tiny")).put_up()
            _, errors = running.communicate(timeout=60)
        finally:
            end(running)
        assert running.returncode == 130, errors
    print({name: round(each, 1) for name, each in seconds.items()})
    [learned, *_] = [
        each.path for each in Checkpoints(Folder(tmp_path / "runs" / "tiny")).candidates() if "." not in each.name
    ]
    losses = [entry["metrics"]["loss"] for entry in read_entries(learned / FILE_NAME)]
    alone = Recorder(stop_after=len(losses))
    data = loaded_data.load(experiment.data)
    with one_thread():  # as on each of the nodes
        loop.train(experiment, data, folder_reporter(tmp_path / "alone", alone))
    assert losses == [metrics["loss"] for metrics in alone.reported]
    for kind in ("weights", "trained"):
        ours, theirs = (load_file(each / f"{kind}.safetensors") for each in (learned, newest(tmp_path / "alone")))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), kind


def sizes(run: Path) -> list[int]:
    """Return by how many workers each epoch of a run was done."""
    if not run.exists():
        return []
    try:
        return [int(entry["metrics"]["workers"]) for entry in read_entries(newest(run) / FILE_NAME)]
    except (AssertionError, FileNotFoundError):
        return []


def is_worker(process: psutil.Process) -> bool:
    return "TrainWorker" in " ".join(process.cmdline())
