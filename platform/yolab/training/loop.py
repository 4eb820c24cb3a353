"""The story of a run, as one worker lives it."""

import math
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from yolab.data import coco
from yolab.data.loader import training_loader
from yolab.errors import YolabError
from yolab.evaluation.detect import detect
from yolab.evaluation.metrics import coco_metrics
from yolab.experiment import Experiment
from yolab.losses import detection_loss, scaled_gains
from yolab.models import weights
from yolab.models.detector import Detector
from yolab.models.weights import Description
from yolab.training import checkpoint
from yolab.training.distributed import Workers
from yolab.training.ema import Ema
from yolab.training.optimiser import Schedule, drive, make_optimiser, schedule
from yolab.training.reporter import Reporter

Progress = Callable[[int, int, int], None]  # epoch (from 1), batches done, batches of the epoch
LOSS_PARTS = ("loss_box", "loss_objectness", "loss_class", "loss")


def train(
    experiment: Experiment,
    reporter: Reporter,
    workers: Workers = Workers(),  # noqa: B008  # frozen
    progress: Progress = lambda epoch, done, total: None,
) -> dict[str, float]:
    """Train a detector and return the metrics of its last epoch, which are those of the EMA.

    Goes on from the reporter's last checkpoint if there is one. Raises UsageError for data that can't be used,
    YolabError if the loss stops being a number.
    """
    recipe, device = experiment.recipe, choose_device(workers)
    torch.manual_seed(experiment.seed)
    torch.set_num_threads(experiment.compute.cpus_per_worker)
    root = Path(experiment.data.path)
    train_set = coco.load(root, experiment.data.train, experiment.data.on_error)
    val_set = coco.load(root, experiment.data.val, experiment.data.on_error)
    about = Description.of(experiment, train_set.names)

    batches, sampler = training_loader(
        train_set,
        experiment.data.image_size,
        experiment.data.augment,
        recipe.batch,
        experiment.seed,
        experiment.compute.loader_processes,
        workers.rank,
        workers.size,
    )
    plan = schedule(recipe, len(sampler))
    model = about.build()
    if recipe.start:
        weights.transfer(weights.load(recipe.start)[0], model)
    model = model.to(memory_format=torch.channels_last).to(device)
    ema = Ema(model, plan.ema_decay, plan.ema_ramp)
    optimiser = make_optimiser(model, recipe, plan.accumulate)
    last = reporter.restore()
    finished = checkpoint.load(last, model, ema, optimiser) if last else 0
    trained = workers.joined(model, device)

    metrics: dict[str, float] = {}
    for epoch in range(finished + 1, recipe.epochs + 1):
        started = time.perf_counter()
        sampler.epoch = epoch
        metrics = _train_epoch(experiment, trained, model, ema, optimiser, batches, plan, epoch, workers, progress)
        metrics["epoch_seconds"] = time.perf_counter() - started
        metrics["images_per_second"] = len(train_set.samples) / metrics["epoch_seconds"]
        if epoch % recipe.evaluate_every == 0 or epoch == recipe.epochs:
            metrics |= evaluate(ema.model, val_set, experiment, workers)
        with tempfile.TemporaryDirectory() as folder:
            if workers.rank == 0:
                checkpoint.save(Path(folder), model, ema, optimiser, epoch, about)
            reporter.report(epoch, metrics, Path(folder) if workers.rank == 0 else None)
        if reporter.should_stop():
            break
    return metrics


def _train_epoch(
    experiment: Experiment,
    trained: nn.Module,
    model: Detector,
    ema: Ema,
    optimiser: torch.optim.Optimizer,
    batches: DataLoader,
    plan: Schedule,
    epoch: int,
    workers: Workers,
    progress: Progress,
) -> dict[str, float]:
    """Make one pass over the data; return the mean loss and its parts over all workers, and the learning rate."""
    device, anchors = next(model.parameters()).device, model.anchors.cpu()
    gains = scaled_gains(experiment.recipe.loss, len(model.strides), model.classes, experiment.data.image_size)
    trained.train()
    optimiser.zero_grad()
    parts = torch.zeros(len(LOSS_PARTS), device=device)
    waiting = 0
    for number, (images, targets) in enumerate(batches):
        accumulate = drive(optimiser, experiment.recipe, plan, (epoch - 1) * plan.batches_an_epoch + number)
        pixels = images.to(device, non_blocking=True).float() / 255
        with autocast(device, experiment.compute.precision):
            levels = trained(pixels.to(memory_format=torch.channels_last))
        loss, batch_parts = detection_loss(
            levels, targets, anchors, model.strides, experiment.assigner, gains, workers.sum, workers.size
        )
        loss.backward()
        parts += batch_parts
        waiting += 1
        if waiting >= accumulate or number == plan.batches_an_epoch - 1:
            optimiser.step()
            optimiser.zero_grad()
            ema.update(model)
            waiting = 0
        progress(epoch, number + 1, plan.batches_an_epoch)
    means = (workers.sum(parts) / workers.size / plan.batches_an_epoch).tolist()
    if not all(math.isfinite(mean) for mean in means):
        raise YolabError(
            f"The loss is no longer a number in epoch {epoch}. The state after epoch {epoch - 1} is kept. "
            "Lower recipe.optimiser.lr, or lengthen recipe.warmup.at_most."
        )
    return dict(zip(LOSS_PARTS, means)) | {"lr": optimiser.param_groups[0]["lr"]}


def evaluate(model: Detector, dataset: coco.Dataset, experiment: Experiment, workers: Workers) -> dict[str, float]:
    """Return the COCO metrics of a model on a split, each worker looking at its part of the images."""
    own = detect(
        model,
        dataset.samples[workers.rank :: workers.size],
        experiment.data.image_size,
        max(1, experiment.recipe.batch // workers.size),
        loader_processes=experiment.compute.loader_processes,
    )
    detections = workers.gather(own)
    return workers.agree(coco_metrics(dataset, detections) if workers.rank == 0 else {})


def choose_device(workers: Workers) -> torch.device:
    """Return this worker's GPU where there is one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", workers.rank % torch.cuda.device_count())


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the context of the forward pass; "auto" is bf16 where the device computes in it, else fp32."""
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
