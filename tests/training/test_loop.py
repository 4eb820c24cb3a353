"""A whole run of the loop, small: it learns, it resumes to the bit, it stops when asked and when the loss breaks."""

import json
import pickle
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from tests import tiny_set
from tests.reporting import Leaving, Recorder, folder_reporter, newest
from yolab import preflight
from yolab.assignment import policies
from yolab.data import loaded_data
from yolab.data.batch import Targets
from yolab.data.samples import Samples
from yolab.errors import YolabError
from yolab.evaluation.detections_file import after_epoch
from yolab.experiment import Assigner, Experiment, Model, Scale, build
from yolab.losses import detection_loss
from yolab.models import weights
from yolab.models.detector import Detector, blueprint_of
from yolab.models.spec import DetectorSpec
from yolab.storage import Folder, storage_at
from yolab.tracking.journal import Journal, read_entries
from yolab.tracking.outbox import Outbox
from yolab.tracking.tracked import Tracking
from yolab.training.ema import Ema
from yolab.training.loop import EVALUATION, train
from yolab.training.optimiser import clip, make_optimiser
from yolab.training.reporter import Observer, Reporter


def experiment(root: Path, **changes: object) -> Experiment:
    return build({}, tiny_set.experiment(root, **changes), "test")


def train_on(experiment: Experiment, reporter: Reporter, **options: Any) -> dict[str, float]:
    return train(experiment, loaded_data.load(experiment.data), reporter, **options)


ADAMW = {"recipe__optimiser__name": "adamw", "recipe__optimiser__lr": 0.001, "recipe__warmup__bias_lr": 0.0}


@pytest.mark.parametrize("optimiser", [{}, ADAMW], ids=["sgd", "adamw"])
def test_a_resumed_run_equals_an_undisturbed_one_to_the_bit(optimiser, small_set, tmp_path):
    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    undisturbed.mkdir(), stopped.mkdir()
    train_on(experiment(small_set, **optimiser), folder_reporter(undisturbed))
    first = Recorder(stop_after=1)
    train_on(experiment(small_set, **optimiser), folder_reporter(stopped, first))
    assert len(first.reported) == 1
    of_a_later_epoch = stopped / EVALUATION / after_epoch(9)
    of_a_later_epoch.touch()
    second = Recorder()
    resumed = experiment(small_set, compute__loader_processes=1, **optimiser)
    train_on(resumed, folder_reporter(stopped, second))
    assert len(second.reported) == 2
    for name in ("weights.safetensors", "trained.safetensors"):
        ours, theirs = (load_file(newest(folder) / name) for folder in (undisturbed, stopped))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    assert not of_a_later_epoch.exists()


@pytest.fixture(scope="module")
def undisturbed(small_set, tmp_path_factory) -> Path:
    """The folder of a run of two epochs of six batches, a step of the optimiser for every two."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train_on(experiment(small_set, **IN_TWOS), folder_reporter(folder, Tracking(*observed(folder))))
    return folder


IN_TWOS = {"recipe__epochs": 2, "recipe__batch": 4, "recipe__nominal_batch": 8, "recipe__steps_at_least": 1}


def observed(folder: Path) -> tuple[Journal, Outbox, None]:
    return Journal(folder / "journal.jsonl"), Outbox(Folder(folder)), None


@pytest.mark.parametrize("leaves", [[1], [2, 1], [5], [6], [7], [10]])
def test_a_run_that_leaves_at_a_step_goes_on_from_there_to_the_bit(leaves, undisturbed, small_set, tmp_path):
    batches = list[tuple[int, int]]()
    for number in [*leaves, 100]:
        leaving = Leaving(number)

        def progress(epoch: int, done: int, total: int, leaving: Leaving = leaving) -> None:
            leaving.progress()
            batches.append((epoch, done))

        reporter = folder_reporter(tmp_path, Tracking(*observed(tmp_path)), leaving)
        with pytest.raises(KeyboardInterrupt) if number < 100 else nullcontext():
            train_on(experiment(small_set, **IN_TWOS), reporter, progress=progress)
    assert batches == [(epoch, done) for epoch in (1, 2) for done in range(1, 7)]
    for name in ("weights.safetensors", "trained.safetensors"):
        ours, theirs = (load_file(newest(folder) / name) for folder in (tmp_path, undisturbed))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    ours, theirs = (read_entries(newest(folder) / "journal.jsonl") for folder in (tmp_path, undisturbed))
    for own, other in zip(ours, theirs, strict=True):
        assert own["epoch"] == other["epoch"]
        same = [name for name in other["metrics"] if "second" not in name]
        assert {name: own["metrics"][name] for name in same} == {name: other["metrics"][name] for name in same}


def test_the_state_is_saved_within_an_epoch_as_often_as_is_asked(undisturbed, small_set, tmp_path, monkeypatch):
    saved = []

    class Seen(Observer):
        def checkpoint_made(self, folder: Path) -> None:
            saved.append(round((seconds[0] - begun) / 60))

    begun = time.monotonic()
    seconds = [begun]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])

    def a_minute_later(*_: int) -> None:
        seconds[0] += 60

    asked = experiment(small_set, **IN_TWOS, compute__checkpoint_minutes=2.5)
    train_on(asked, folder_reporter(tmp_path, Seen()), progress=a_minute_later)
    assert saved == [3, 6, 10, 12]  # at a step of the optimiser; each epoch has its own at its end
    ours, theirs = (load_file(newest(folder) / "weights.safetensors") for folder in (tmp_path, undisturbed))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("optimiser", [{}, ADAMW | {"recipe__optimiser__lr": 0.005}], ids=["sgd", "adamw"])
def test_a_run_learns(optimiser, small_set, tmp_path):
    changes = {"recipe__epochs": 30, "recipe__evaluate_every": 30, "data__augment__preset": "none", "recipe__batch": 4}
    short = {"recipe__warmup__bias_lr": 0.01, "recipe__loss__objectness": 64.0, "recipe__loss__classification": 4.0}
    recorder = Recorder()
    described = experiment(small_set, **(changes | short | optimiser), assigner__top_k=30)
    metrics = train_on(described, folder_reporter(tmp_path, recorder))
    losses = [reported["loss"] for reported in recorder.reported]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert metrics["ap50"] > 0.1


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(small_set, tmp_path):
    changes = {"recipe__optimiser__lr": 1e6, "recipe__warmup__at_most": 0.0}
    with pytest.raises(YolabError, match=r"The loss is no longer a number in epoch \d, batch \d"):
        train_on(experiment(small_set, **changes), folder_reporter(tmp_path))
    with safe_open(tmp_path / "failed_batch.safetensors", framework="pt") as kept:
        assert kept.get_tensor("images").shape == (8, 3, 64, 64)
        assert kept.metadata()["epoch"] == "1"


def test_frozen_nodes_keep_their_weights_and_statistics(small_set, tmp_path):
    changes = {"recipe__epochs": 1, "recipe__freeze": ["stem", "stage*"]}
    train_on(experiment(small_set, **changes), folder_reporter(tmp_path))
    trained = load_file(newest(tmp_path) / "trained.safetensors")
    fresh = fresh_weights(small_set)
    changed = {name.split(".")[1] for name in trained if not torch.equal(trained[name], fresh[name])}
    assert "stem" not in changed
    assert not any(name.startswith("stage") for name in changed)
    assert any(name.startswith("out") for name in changed)


def fresh_weights(root: Path) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return DetectorSpec.of(experiment(root), ("box", "disc")).build().state_dict()


def test_a_run_stops_when_its_scores_no_longer_rise(small_set, tmp_path):
    changes = {"recipe__epochs": 8, "recipe__patience": 2, "recipe__optimiser__lr": 1e-9}
    recorder = Recorder()
    train_on(experiment(small_set, **changes), folder_reporter(tmp_path, recorder))
    assert len(recorder.reported) == 3
    train_on(experiment(small_set, **changes), folder_reporter(tmp_path, recorder))
    assert len(recorder.reported) == 3, "a run that has ended trains no more when it is resumed"


@pytest.mark.parametrize("changes", [{"recipe__multi_scale": 0.5}, {"recipe__optimiser__clip": 0.1}])
def test_sizes_of_batches_and_clipping_change_what_is_learned(changes, small_set, tmp_path):
    usual, other = ({"recipe__epochs": 1} | more for more in ({}, changes))
    results = []
    for name, described in (("usual", usual), ("other", other)):
        (tmp_path / name).mkdir()
        results.append(train_on(experiment(small_set, **described), folder_reporter(tmp_path / name)))
    assert results[0]["loss"] != results[1]["loss"]


def test_a_trace_and_where_the_time_of_a_step_goes(small_set, tmp_path):
    metrics = train_on(experiment(small_set, recipe__epochs=1), folder_reporter(tmp_path), profile_steps=1)
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    phases = [metrics[f"step_{phase}_seconds"] for phase in ("data", "forward", "loss", "backward", "optimiser")]
    assert all(seconds > 0 for seconds in phases)
    assert 3 * sum(phases) < metrics["epoch_seconds"]


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique"):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("policy", ["plain", "lead", "coarse_to_fine"])
def test_a_step_never_waits_for_the_device(policy, monkeypatch):
    """Proposals are made on the CPU, from the targets alone, so what they do there doesn't count."""
    torch.manual_seed(0)
    two_heads = policy == "coarse_to_fine"
    model = Detector(blueprint_of(Model(name="yolov7-w6", scale=Scale(width=0.0625, hidden=0.0625))), 3)
    if not two_heads:
        model.drop_auxiliary()
    recipe = build({}, tiny_set.experiment(Path(), recipe__optimiser__clip=1.0), "test").recipe
    optimiser, scaler = make_optimiser(model, recipe, 1), torch.amp.GradScaler("cpu", enabled=False)
    ema = Ema(model, 0.999, 100)
    boxes = torch.cat([torch.rand(2, 5, 2) * 100 + 10, torch.rand(2, 5, 2) * 40 + 20], 2)
    targets = Targets(boxes, torch.randint(0, 3, (2, 5)), torch.ones(2, 5, dtype=torch.bool))
    proposed = policies.propose

    def uncounted(*arguments):
        with torch.utils._python_dispatch._disable_current_modes():
            return proposed(*arguments)

    monkeypatch.setattr(policies, "propose", uncounted)
    anchors = model.anchors.cpu()
    with Waits() as waits:
        levels = model.train()(torch.rand(2, 3, 128, 128))
        assigner = Assigner(policy=policy)
        loss, _ = detection_loss(levels, targets, anchors, model.strides, assigner, recipe.loss)
        loss.backward()
        clip(optimiser, scaler, 1.0)
        scaler.step(optimiser)
        optimiser.zero_grad()
        ema.update(model)
    assert waits.found == []


def test_progress_counts_every_batch(small_set, tmp_path):
    seen = []
    changes = {"recipe__epochs": 1}
    train_on(experiment(small_set, **changes), folder_reporter(tmp_path), progress=lambda *step: seen.append(step))
    assert seen == [(1, 1, 3), (1, 2, 3), (1, 3, 3)]


def test_a_run_reads_no_annotations_and_writes_into_no_array_of_its_data(small_set, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(small_set, root)
    described = experiment(root, recipe__epochs=1, data__augment__preset="p5", data__augment__paste_in=0.5)
    data = loaded_data.load(described.data)
    shutil.rmtree(root / "annotations")
    before = pickle.dumps(data)
    (tmp_path / "run").mkdir()
    train(described, data, folder_reporter(tmp_path / "run"))
    assert not data.train.samples.boxes.flags.writeable
    assert_unchanged(pickle.loads(before).train.samples, data.train.samples)


def assert_unchanged(before: Samples, after: Samples) -> None:
    for name in ("image_ids", "sizes", "bounds", "boxes", "classes"):
        assert (getattr(before, name) == getattr(after, name)).all()


def test_a_run_starts_from_weights_in_a_bucket_as_from_those_here(small_set, s3, tmp_path):
    spec = DetectorSpec(experiment(small_set).model, ("box", "disc"), 64)
    weights.save(spec.build(), spec, tmp_path / "start.safetensors")
    storage_at(f"{s3}/some").keep(tmp_path / "start.safetensors")
    learned = []
    for start in (str(tmp_path / "start.safetensors"), f"{s3}/some/start.safetensors"):
        described = experiment(small_set, recipe__epochs=1, recipe__start=start)
        run = tmp_path / str(len(learned))
        run.mkdir()
        train_on(described, folder_reporter(run))
        learned.append((preflight.check(described).digest, load_file(newest(run) / "weights.safetensors")))
    (digest, ours), (other, theirs) = learned
    assert digest == other
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("lr", "warned"), [(0.01, 0), (5.0, 1)])
def test_a_learning_rate_that_destroys_the_start_is_told_once(lr, warned, small_set, tmp_path, caplog):
    begun = tmp_path / "begun"
    begun.mkdir()
    train_on(experiment(small_set, recipe__epochs=1), folder_reporter(begun))
    start = {"recipe__start": str(newest(begun) / "weights.safetensors")}
    rate = {"recipe__optimiser__lr": lr, "recipe__warmup__bias_lr": lr, "recipe__warmup__at_most": 0.0}
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    train_on(experiment(small_set, recipe__epochs=4, **start, **rate), folder_reporter(tuned))
    told = [record.message for record in caplog.records if "Lower recipe.optimiser.lr" in record.message]
    assert len(told) == warned
