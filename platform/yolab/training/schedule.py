"""How an optimiser is led through a run: warm-up, cosine, accumulation, cut to the length of the run."""

import math
from dataclasses import asdict, dataclass

import torch

from yolab.experiment import Recipe


@dataclass(frozen=True)
class Schedule:
    """A recipe cut to the length of a run, by these rules:

    - accumulation: nominal batch / batch, but never so many that fewer than `steps_at_least` optimiser steps remain;
    - warm-up: max(`epochs`, `batches`), but at most the share `warmup.at_most` of the run;
    - EMA: looks back over 1 / (1 − decay) steps, but at most the share `ema.at_most` of the run; where that cuts it,
      its ramp is a fifth of what it looks back over, as it is in the published recipe.
    """

    batches_an_epoch: int
    accumulate: int
    warmup_batches: int
    ema_decay: float
    ema_ramp: float

    def described(self) -> dict[str, float]:
        """Return the values for the record, as `schedule/accumulate` and so on."""
        return {f"schedule/{name}": value for name, value in asdict(self).items()}


def schedule(recipe: Recipe, batches_an_epoch: int) -> Schedule:
    """Cut a recipe to a run of `recipe.epochs` epochs of so many batches."""
    batches = recipe.epochs * batches_an_epoch
    wished = round(recipe.nominal_batch / recipe.batch)
    accumulate = max(1, min(wished, batches // max(1, recipe.steps_at_least)))
    warmup = max(round(recipe.warmup.epochs * batches_an_epoch), recipe.warmup.batches)
    steps = batches / accumulate
    horizon = min(1 / (1 - recipe.ema.decay), max(1.0, recipe.ema.at_most * steps))
    return Schedule(
        batches_an_epoch=batches_an_epoch,
        accumulate=accumulate,
        warmup_batches=min(warmup, round(recipe.warmup.at_most * batches)),
        ema_decay=1 - 1 / horizon,
        ema_ramp=min(recipe.ema.ramp, horizon / 5),
    )


def follow_schedule(optimiser: torch.optim.Optimizer, recipe: Recipe, plan: Schedule, batch: int) -> int:
    """Set learning rates and momentum (beta1 where an optimiser has that in its place) for batch number `batch` of the
    run (from 0); return the batches to accumulate.

    One-cycle cosine by epoch; during the warm-up everything moves linearly from its start to its place.
    """
    settings, warmup = recipe.optimiser, recipe.warmup
    epoch = batch // plan.batches_an_epoch
    cosine = (1 - math.cos(math.pi * epoch / recipe.epochs)) / 2
    lr = settings.lr * (1 + (settings.lr_final - 1) * cosine)
    done = min(1.0, batch / plan.warmup_batches) if plan.warmup_batches else 1.0
    for group in optimiser.param_groups:
        start = warmup.bias_lr if group["is_bias"] else 0.0
        group["lr"] = start + (lr - start) * done
        momentum = warmup.momentum + (settings.momentum - warmup.momentum) * done
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum
    return max(1, round(1 + (plan.accumulate - 1) * done))
