"""A whole run of the loop, small: it learns, it resumes to the bit, it stops when asked and when the loss breaks."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import tiny_set
from yolab.errors import YolabError
from yolab.experiment import Experiment, build
from yolab.training.loop import train
from yolab.training.reporter import FolderReporter


class Recorder(FolderReporter):
    """Keeps what was reported, and stops after a given epoch."""

    def __init__(self, folder: Path, stop_after: int | None = None) -> None:
        super().__init__(folder)
        self.reported: list[dict[str, float]] = []
        self.stop_after = stop_after

    def report(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        super().report(epoch, metrics, checkpoint)
        self.reported.append(dict(metrics))
        self.stop_requested = epoch == self.stop_after


def experiment(root: Path, **changes: object) -> Experiment:
    return build({}, tiny_set.experiment(root, **changes), "test")


def test_a_resumed_run_equals_an_undisturbed_one_to_the_bit(small_set, tmp_path):
    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    undisturbed.mkdir(), stopped.mkdir()
    train(experiment(small_set), Recorder(undisturbed))
    first = Recorder(stopped, stop_after=1)
    train(experiment(small_set), first)
    assert len(first.reported) == 1
    second = Recorder(stopped)
    train(experiment(small_set, compute__loader_processes=1), second)
    assert len(second.reported) == 2
    for name in ("weights.safetensors", "trained.safetensors"):
        ours, theirs = (load_file(folder / "checkpoint" / name) for folder in (undisturbed, stopped))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name


def test_a_run_learns(small_set, tmp_path):
    changes = {"recipe__epochs": 60, "recipe__evaluate_every": 60, "data__augment__preset": "none"}
    recorder = Recorder(tmp_path)
    metrics = train(experiment(small_set, **changes, recipe__batch=4), recorder)
    losses = [reported["loss"] for reported in recorder.reported]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert metrics["ap50"] > 0.05


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(small_set, tmp_path):
    changes = {"recipe__optimiser__lr": 1e6, "recipe__warmup__at_most": 0.0}
    with pytest.raises(YolabError, match=r"The loss is no longer a number in epoch \d"):
        train(experiment(small_set, **changes), FolderReporter(tmp_path))


def test_progress_counts_every_batch(small_set, tmp_path):
    seen = []
    changes = {"recipe__epochs": 1}
    train(experiment(small_set, **changes), FolderReporter(tmp_path), progress=lambda *step: seen.append(step))
    assert seen == [(1, 1, 3), (1, 2, 3), (1, 3, 3)]


def test_a_kill_between_the_renames_of_a_checkpoint_loses_nothing(tmp_path):
    checkpoint = tmp_path / "new"
    checkpoint.mkdir()
    (checkpoint / "state").write_text("epoch 1")
    reporter = FolderReporter(tmp_path)
    reporter.report(1, {}, checkpoint)
    shutil.move(tmp_path / "checkpoint", tmp_path / "checkpoint.previous")
    restored = FolderReporter(tmp_path).restore()
    assert restored is not None
    assert (restored / "state").read_text() == "epoch 1"
