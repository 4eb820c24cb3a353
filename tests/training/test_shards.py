"""Runs whose batches are cut into shards: the same to the bit by any number of workers, also if that changes."""

import itertools
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from tests import tiny_set
from tests.reporting import Leaving, folder_reporter, newest
from yolab.data import loaded_data
from yolab.experiment import build
from yolab.storage import Folder
from yolab.tracking.journal import Journal, read_entries
from yolab.tracking.outbox import Outbox
from yolab.tracking.tracked import Tracking
from yolab.training import loop
from yolab.training.distributed import Workers
from yolab.training.shards import Shards, _sum, _whole_nodes, held_by

SHARDS = 4
RUNS = {  # the changes of an experiment of 24 images
    "steps of two batches": {"recipe__batch": 4, "recipe__nominal_batch": 8, "recipe__steps_at_least": 1},
    "frozen nodes, all sizes, sgd with clipping": {
        "recipe__batch": 9,
        "recipe__freeze": ["stem", "down2"],
        "recipe__multi_scale": 0.3,
        "recipe__optimiser__clip": 1.0,
    },
}


def _work(rank: int, size: int, port: int, root: str, folder: str, after: int) -> None:
    """Train every run on `size` workers, from where it is, and leave after so many batches."""
    loop._ASK_SECONDS = 0.0  # between all batches
    if size > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    for name, changes in RUNS.items():
        changes = {"recipe__epochs": 2, "compute__shards": SHARDS, "compute__workers": size} | changes
        experiment = build({}, tiny_set.experiment(Path(root), **changes), "test")
        target, leaving = Path(folder, name), Leaving(after)
        target.mkdir(exist_ok=True)
        tracking = [Tracking(Journal(target / "journal.jsonl"), Outbox(Folder(target)), None)] if rank == 0 else []
        with suppress(KeyboardInterrupt):
            loop.train(
                experiment,
                loaded_data.load(experiment.data),
                folder_reporter(target, *tracking, leaving),
                Workers(rank, size),
                progress=leaving.progress,
            )
    if size > 1:
        dist.destroy_process_group()


def train_on(sizes: list[tuple[int, int]], root: Path, folder: Path) -> Path:
    """Train the runs on so many workers for so many batches each, one after the other; return their folder."""
    for size, batches in sizes:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = (size, port, str(root), str(folder), batches)
        mp.start_processes(_work, arguments, nprocs=size, start_method="forkserver")
    return folder


@pytest.fixture(scope="module")
def alone(small_set, tmp_path_factory) -> Path:
    """The runs by one worker, undisturbed."""
    mp.get_context("forkserver").set_forkserver_preload([__name__])
    return train_on([(1, -1)], small_set, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize(
    "sizes", [[(2, -1)], [(4, -1)], [(4, 1), (2, 5), (3, -1)]], ids=["2 workers", "4 workers", "4, then 2, then 3"]
)
def test_any_workers_learn_the_same_to_the_bit(sizes, alone, small_set, tmp_path):
    train_on(sizes, small_set, tmp_path)
    for name in RUNS:
        for kind in ("weights", "trained"):
            ours, theirs = (load_file(newest(folder / name) / f"{kind}.safetensors") for folder in (tmp_path, alone))
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs), (name, kind)
        ours, theirs = (read_entries(newest(folder / name) / "journal.jsonl") for folder in (tmp_path, alone))
        for own, other in zip(ours, theirs, strict=True):
            same = [metric for metric in other["metrics"] if "second" not in metric and metric != "workers"]
            assert "ap" in same
            assert {key: own["metrics"][key] for key in same} == {key: other["metrics"][key] for key in same}


def test_merged_are_the_sum_of_gradients_and_the_mean_of_statistics():
    norm, inputs = torch.nn.BatchNorm2d(2), torch.randn(2, 4, 2, 3, 3)
    shards = Shards(Workers(), 2, norm)
    alone = [torch.nn.BatchNorm2d(2) for _ in inputs]
    for number, x in enumerate(inputs):
        alone[number](x).square().sum().backward()
        with shards.turn(number):
            norm(x).square().sum().backward()
    shards.merge()
    torch.testing.assert_close(norm.weight.grad, sum(each.weight.grad for each in alone))
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(norm, name), sum(getattr(each, name) for each in alone) / 2)
    assert norm.num_batches_tracked == 1


def test_frozen_statistics_stay_and_a_batch_counts_once(alone):
    changed = {name: load_file(newest(alone / name) / "trained.safetensors") for name in RUNS}
    frozen, free = (changed[name]["nodes.stem.norm.running_mean"] for name in reversed(RUNS))
    assert (frozen == 0).all()
    assert (free != 0).any()
    counted = changed["steps of two batches"]["nodes.stem.norm.num_batches_tracked"]
    assert counted == 12


@pytest.mark.parametrize("shards", range(1, 18))
def test_sums_are_put_together_in_one_way(shards):
    whole = _sum(0, shards, {(n, n + 1): str(n) for n in range(shards)}, "({} {})".format)
    for workers in range(1, shards + 1):
        held = [held_by(rank, workers, shards) for rank in range(workers)]
        assert list(itertools.chain(*held)) == list(range(shards))
        assert max(map(len, held)) - min(map(len, held)) <= 1
        known = {}
        for own in held:
            leaves = {(n, n + 1): str(n) for n in own}
            known |= {node: _sum(*node, leaves, "({} {})".format) for node in _whole_nodes(0, shards, own)}
        assert _sum(0, shards, known, "({} {})".format) == whole


def test_what_a_shard_learns_from_is_its_own(small_set, tmp_path):
    losses = {}
    for shards in (1, 4):
        changes = {"recipe__epochs": 1, "recipe__batch": 24, "compute__shards": shards}
        experiment = build({}, tiny_set.experiment(small_set, **changes), "test")
        folder = tmp_path / str(shards)
        folder.mkdir()
        losses[shards] = loop.train(experiment, loaded_data.load(experiment.data), folder_reporter(folder))["loss"]
    assert losses[1] != losses[4]
    assert losses[1] == pytest.approx(losses[4], rel=0.1)
