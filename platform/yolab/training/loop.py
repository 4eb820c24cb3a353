"""The story of a run, as one worker lives it."""

import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from yolab.data import coco
from yolab.data.batch import Targets, collate
from yolab.data.loaded_data import LoadedData
from yolab.data.loader import EpochBatches, training_loader
from yolab.data.loader_processes import Loader
from yolab.errors import YolabError
from yolab.evaluation import detections_file
from yolab.evaluation.detect import ImageDetections, detect
from yolab.evaluation.metrics import score
from yolab.experiment import Experiment
from yolab.losses import detection_loss, scaled_gains
from yolab.memory import keep_freed_memory
from yolab.models import weights
from yolab.models.detector import Detector
from yolab.models.device import choose_device
from yolab.models.freeze import freeze
from yolab.models.spec import DetectorSpec
from yolab.storage import local_file
from yolab.training import autoanchor, checkpoint
from yolab.training.batch_norm import synchronise
from yolab.training.distributed import Workers
from yolab.training.ema import Ema
from yolab.training.optimiser import clip, make_optimiser
from yolab.training.patience import Patience
from yolab.training.precision import Precision
from yolab.training.reporter import Reporter
from yolab.training.schedule import Schedule, follow_schedule, schedule
from yolab.training.shards import Shards, held_by
from yolab.training.start_watch import StartWatch
from yolab.training.stopwatch import Stopwatch
from yolab.training.tracing import traced

Progress = Callable[[int, int, int], None]  # epoch (from 1), batches done, batches of the epoch
LOSS_PARTS = ("loss_box", "loss_objectness", "loss_class", "loss")
FAILED_BATCH = "failed_batch.safetensors"
EVALUATION = "evaluation"  # the folder of what evaluations leave
_LOOK_EVERY = 50  # batches; to look at the loss is to wait for the device
_ASK_SECONDS = 2.0


def train(
    experiment: Experiment,
    data: LoadedData,
    reporter: Reporter,
    workers: Workers = Workers(),  # noqa: B008  # frozen
    device: torch.device | None = None,
    progress: Progress = lambda epoch, done, total: None,
    profile_steps: int = 0,
) -> dict[str, float]:
    """Train a detector and return the metrics of its last epoch, which are those of the EMA.

    Goes on from the reporter's last checkpoint if there is one, in mid-epoch, too. `device` None: the worker's GPU,
    where there is one. So many steps of the first epoch are traced, after two to warm up. Raises YolabError if the loss
    stops being a number, KeyboardInterrupt when the reporter wanted to leave, with the state saved.
    """
    recipe, device, shards = experiment.recipe, device or choose_device(workers.rank), experiment.shards(workers.size)
    torch.manual_seed(experiment.seed)
    torch.set_num_threads(experiment.compute.cpus_per_worker)
    keep_freed_memory()
    about = DetectorSpec.of(experiment, data.train.names)
    about = autoanchor.with_fitting_anchors(about, data.train.samples, experiment)

    batches, sampler = training_loader(
        data.train,
        experiment.data,
        recipe.epochs,
        recipe.batch,
        experiment.seed,
        experiment.compute,
        held_by(workers.rank, workers.size, shards),
        shards,
    )
    plan = schedule(recipe, len(sampler))
    model = about.build()
    watched = None
    if recipe.start:
        with tempfile.TemporaryDirectory() as scratch:
            start, described = weights.load(local_file(recipe.start, Path(scratch)))
        weights.transfer(start, described.names, model, about.names)
        watched = StartWatch(model)
    model = model.to(memory_format=torch.channels_last).to(device)
    freeze(model, recipe.freeze)
    workers.alike(model)
    precision = Precision.of(experiment.compute.precision, device)
    state = checkpoint.State(
        model,
        Ema(model, plan.ema_decay, plan.ema_ramp),
        make_optimiser(model, recipe, plan.accumulate),
        precision.scaler(),
    )
    if recipe.patience:
        reporter = reporter.also(Patience(recipe.patience))
    _restore(reporter, workers, lambda folder: checkpoint.load(folder, state))
    if workers.rank == 0:
        detections_file.forget_after(state.epoch, reporter.run / EVALUATION)
    if workers.size > 1 and experiment.batch_norm == "synchronised":
        synchronise(model)
    _train_mode(model)
    parted = Shards(workers, shards, model)
    run = _Run(experiment, about, state, batches, sampler, plan, precision, workers, parted, progress)

    metrics: dict[str, float] = {}
    ended = state.epoch > 0 and _is_to_stop(reporter, workers)  # by patience, before it was resumed
    for epoch in range(state.epoch + 1, recipe.epochs + 1) if not ended else ():
        with traced(profile_steps if workers.rank == 0 else 0, reporter) as step_done:
            metrics = run.epoch(epoch, reporter, step_done)
        profile_steps = 0
        metrics["workers"] = workers.size
        metrics["images_per_second"] = sampler.samples / metrics["epoch_seconds"]
        state.epoch, state.within = epoch, checkpoint.Within()
        if watched and workers.rank == 0:
            watched.look(epoch)
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as beside:
            # the checkpoint is written while the EMA, which it holds a copy of, is scored
            written = beside.submit(checkpoint.save, Path(folder), state.copied(), about) if workers.rank == 0 else None
            if epoch % recipe.evaluate_every == 0 or epoch == recipe.epochs:
                metrics |= evaluate(state.ema.model, data.val, experiment, workers, reporter, epoch)
            if written:
                written.result()
            reporter.report(epoch, metrics, Path(folder) if written else None)
        run.saved_at = time.monotonic()
        if _is_to_stop(reporter, workers):
            break
        if epoch < recipe.epochs and run.wish(reporter) is Wish.LEAVE:
            raise KeyboardInterrupt
    return metrics


def _restore(reporter: Reporter, workers: Workers, load: Callable[[Path], None]) -> None:
    """Load the checkpoint that rank 0 finds whole on every rank."""
    found = reporter.restore(load) if workers.rank == 0 else None
    chosen = workers.gather([found])[0]
    if workers.rank > 0:
        reporter.restore(load, [chosen] if chosen else [])


def _is_to_stop(reporter: Reporter, workers: Workers) -> bool:
    """Return whether the run ends here, the same on every rank: what one wants, all do."""
    return any(workers.gather([reporter.should_stop()]))


class Wish(IntEnum):
    """What is wanted of a run between two steps."""

    NOTHING = 0
    SAVE = 1
    LEAVE = 2  # with the state saved


@dataclass
class _Run:
    """What the epochs of a run have in common."""

    experiment: Experiment
    about: DetectorSpec
    state: checkpoint.State
    batches: Loader
    sampler: EpochBatches
    plan: Schedule
    precision: Precision
    workers: Workers
    shards: Shards
    progress: Progress
    saved_at: float = field(default_factory=time.monotonic)
    asked_at: float = field(default_factory=time.monotonic)
    ask_every: int = 1  # batches, as rank 0 has found
    unasked: int = 0

    def epoch(self, epoch: int, reporter: Reporter, step_done: Callable[[], None]) -> dict[str, float]:
        """Make one pass over the data, or the rest of it; return the mean loss and its parts over all shards, the
        learning rate, and where the time of a step went."""
        recipe, state, plan, model = self.experiment.recipe, self.state, self.plan, self.state.model
        begun, started = state.within.batches, time.perf_counter() - state.within.seconds
        device, model_anchors = model.device, model.anchors.cpu()
        gains = scaled_gains(recipe.loss, len(model.strides), model.classes, self.experiment.data.image_size)
        whole = self.workers if self.experiment.batch_norm == "synchronised" else Workers()
        self.sampler.epoch, self.sampler.done = epoch, begun
        state.optimiser.zero_grad()
        parts = torch.zeros(len(self.shards.held), len(LOSS_PARTS), device=device)
        if begun:
            parts += torch.tensor([state.within.losses[shard] for shard in self.shards.held], device=device)
        bad_batch = torch.full((), -1, device=device)
        waiting, wish, last = 0, Wish.NOTHING, plan.batches_an_epoch - 1
        watch, of_shards = Stopwatch(device), iter(self.batches)
        for number in range(begun, plan.batches_an_epoch):
            batch = (epoch - 1) * plan.batches_an_epoch + number
            accumulate = follow_schedule(state.optimiser, recipe, plan, batch)
            for place, shard in enumerate(self.shards.held):
                images, targets = next(of_shards)
                pixels = images.to(device, non_blocking=True).float() / 255
                pixels, targets = self._at_random_scale(pixels, targets, epoch, number)
                watch.lap("data")
                with self.shards.turn(shard):
                    with self.precision.autocast():
                        levels = model(pixels)
                    watch.lap("forward")
                    loss, its_parts = detection_loss(
                        levels,
                        targets,
                        model_anchors,
                        model.strides,
                        self.experiment.assigner,
                        gains,
                        whole.sum,
                        whole.size,
                    )
                    watch.lap("loss")
                    state.scaler.scale(loss).backward()
                    watch.lap("backward")
                parts[place] += its_parts
                bad_batch = torch.where((bad_batch < 0) & ~its_parts[3].isfinite(), number, bad_batch)
            waiting += 1
            stepped = waiting >= accumulate or number == last
            if stepped:
                self.shards.merge()
                watch.lap("exchange")
                clip(state.optimiser, state.scaler, recipe.optimiser.clip)
                state.scaler.step(state.optimiser)
                state.scaler.update()
                state.optimiser.zero_grad()
                state.ema.update(model)
                waiting = 0
            watch.lap("optimiser")
            step_done()
            self.progress(epoch, number + 1, plan.batches_an_epoch)
            looks = number % _LOOK_EVERY == _LOOK_EVERY - 1 or number == last
            if self._asks():
                wish = max(wish, self.wish(reporter))
            saves = wish > Wish.NOTHING and stepped and number < last
            if looks or saves:
                self._check(int(bad_batch), epoch, reporter)
            if saves:
                self._save_within(number + 1, parts, time.perf_counter() - started, reporter)
                if wish is Wish.LEAVE:
                    raise KeyboardInterrupt
                wish = Wish.NOTHING
        rows = self.workers.gather(parts.tolist())
        means = [math.fsum(column) / len(rows) / plan.batches_an_epoch for column in zip(*rows)]
        losses = dict(zip(LOSS_PARTS, means))
        known = {"lr": state.optimiser.param_groups[0]["lr"], "epoch_seconds": time.perf_counter() - started}
        return losses | known | watch.shares(plan.batches_an_epoch - begun)

    def _asks(self) -> bool:
        """Return whether to ask all ranks what they want, the same on every one: to ask takes time, so every few
        seconds."""
        self.unasked += 1
        return self.workers.size == 1 or self.unasked >= self.ask_every

    def wish(self, reporter: Reporter) -> Wish:
        """Return what is wanted on any rank."""
        now = time.monotonic()
        due = now - self.saved_at > 60 * self.experiment.compute.checkpoint_minutes
        saves = reporter.should_save() or due
        own = Wish.LEAVE if reporter.should_leave() else Wish.SAVE if saves else Wish.NOTHING
        speed = self.unasked / max(now - self.asked_at, 1e-3)
        found = self.workers.gather([(own, min(_LOOK_EVERY, max(1, round(_ASK_SECONDS * speed))))])
        self.ask_every, self.unasked, self.asked_at = found[0][1], 0, now
        return max(wish for wish, _ in found)

    def _save_within(self, batches: int, parts: Tensor, seconds: float, reporter: Reporter) -> None:
        """Save the state after so many batches of an epoch, right after a step of the optimiser."""
        losses = tuple(tuple(row) for row in self.workers.gather(parts.tolist()))
        self.state.within = checkpoint.Within(batches, losses, seconds)
        if self.workers.rank == 0:
            with tempfile.TemporaryDirectory() as folder:
                checkpoint.save(Path(folder), self.state.copied(), self.about)
                reporter.save(self.state.epoch, Path(folder), batches)
        self.saved_at = time.monotonic()

    def _at_random_scale(self, pixels: Tensor, targets: Targets, epoch: int, number: int) -> tuple[Tensor, Targets]:
        """Return the batch at a size within `multi_scale` of its own, a multiple of the largest stride, the same on
        every worker."""
        spread = self.experiment.recipe.multi_scale
        if not spread:
            return pixels, targets
        stride, size = max(self.state.model.strides), pixels.shape[2]
        random = np.random.default_rng([self.experiment.seed, epoch, number])
        chosen = max(1, round(random.uniform(1 - spread, 1 + spread) * size / stride)) * stride
        pixels = nn.functional.interpolate(pixels, (chosen, chosen), mode="bilinear", align_corners=False)
        return pixels, replace(targets, boxes=targets.boxes * (chosen / size))

    def _check(self, own_bad_batch: int, epoch: int, reporter: Reporter) -> None:
        """Raise YolabError, and keep the batch with the run, if on any worker there is one whose loss is no number."""
        bad = [number for number in self.workers.gather([own_bad_batch]) if number >= 0]
        if not bad:
            return
        bad_batch = min(bad)
        keys = self.sampler.whole_batches()[bad_batch]
        images, targets = collate([self.batches.dataset[key] for key in keys])
        described = {"epoch": str(epoch), "batch": str(bad_batch + 1), "samples": str([index for _, index, _ in keys])}
        if self.workers.rank == 0:
            with tempfile.TemporaryDirectory() as scratch:
                batch = {"images": images.contiguous(), "boxes": targets.boxes, "classes": targets.classes}
                save_file(batch, Path(scratch, FAILED_BATCH), metadata=described)
                reporter.save_artifact(Path(scratch, FAILED_BATCH))
        raise YolabError(
            f"The loss is no longer a number in epoch {epoch}, batch {bad_batch + 1}. The batch is kept as "
            f"{FAILED_BATCH}, the state after epoch {epoch - 1} as the last checkpoint. Lower recipe.optimiser.lr, "
            "lengthen recipe.warmup.at_most, or set recipe.optimiser.clip."
        )


def evaluate(
    model: Detector,
    dataset: coco.Dataset,
    experiment: Experiment,
    workers: Workers,
    reporter: Reporter,
    epoch: int,
) -> dict[str, float]:
    """Return the COCO metrics of a model on a split, with the AP of each class, each worker looking at the images of
    its shards; keep the detections with the run."""
    shards = experiment.shards(workers.size)
    own: list[ImageDetections] = []
    for shard in held_by(workers.rank, workers.size, shards):
        own += detect(
            model,
            dataset.samples[shard::shards],
            experiment.data.image_size,
            max(1, experiment.recipe.batch // shards),
            loader_processes=experiment.compute.loader_processes,
        )
    detections = workers.gather(own)
    metrics: dict[str, float] = {}
    if workers.rank == 0:
        with tempfile.TemporaryDirectory() as scratch:
            detections_file.save(detections, Path(scratch, detections_file.after_epoch(epoch)))
            reporter.save_artifact(Path(scratch, detections_file.after_epoch(epoch)), EVALUATION)
        scores = score(dataset, detections)
        metrics = scores.metrics | scores.by_class(dataset.names)
    return workers.agree(metrics)


def _train_mode(model: Detector) -> None:
    """Set everything to train but frozen nodes, whose batch norm keeps its statistics."""
    model.train()
    for node in model.nodes.values():
        if not any(parameter.requires_grad for parameter in node.parameters()):
            node.eval()
