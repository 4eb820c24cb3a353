"""The optimisers by name, and the groups of parameters that each is built over."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from yolab import experiment
from yolab.errors import UsageError
from yolab.experiment import Recipe

_BETA2 = 0.999  # of AdamW: over how long squared gradients are averaged


@dataclass(frozen=True)
class Optimiser:
    """A row of `OPTIMISERS`: its help, what builds it over groups of parameters with the settings of the recipe, and
    what checks beforehand that the recipe suits it, raising UsageError.

    Each group has `is_bias`, and `weight_decay` where the recipe wants any: elsewhere what is built must have none.
    `follow_schedule` sets `lr` and `momentum` of each group, or the first of `betas` where a group has those.
    """

    help: str
    build: Callable[[list[dict[str, Any]], experiment.Optimiser], torch.optim.Optimizer]
    check: Callable[[Recipe], None] = lambda recipe: None


def _sgd(groups: list[dict[str, Any]], settings: experiment.Optimiser) -> torch.optim.SGD:
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=True)


def _adamw(groups: list[dict[str, Any]], settings: experiment.Optimiser) -> torch.optim.AdamW:
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, _BETA2), weight_decay=0.0)


def _check_adamw(recipe: Recipe) -> None:
    for path, momentum in (("optimiser", recipe.optimiser.momentum), ("warmup", recipe.warmup.momentum)):
        if momentum == 1:
            raise UsageError(
                f"recipe.{path}.momentum can't be 1 with adamw: it is beta1, take one below 1, such as 0.9."
            )


OPTIMISERS: dict[str, Optimiser] = {
    "sgd": Optimiser("stochastic gradient descent with Nesterov momentum, that of the paper", _sgd),
    "adamw": Optimiser(
        "Adam with decoupled weight decay; momentum is its beta1, and beta2 is 0.999", _adamw, _check_adamw
    ),
}


def make_optimiser(model: nn.Module, recipe: Recipe, accumulate: int) -> torch.optim.Optimizer:
    """Return the optimiser that a recipe names over three groups: convolution weights, with weight decay; biases; the
    rest (norms, implicit vectors). Weight decay is meant for the nominal batch and follows the real one."""
    decayed, biases, rest = [], [], []
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            biases.append(parameter)
        elif parameter.ndim == 4 and name.endswith("weight"):
            decayed.append(parameter)
        else:
            rest.append(parameter)
    settings = recipe.optimiser
    decay = settings.weight_decay * recipe.batch * accumulate / recipe.nominal_batch
    groups = [
        {"params": decayed, "weight_decay": decay, "is_bias": False},
        {"params": biases, "is_bias": True},
        {"params": rest, "is_bias": False},
    ]
    groups = [group for group in groups if group["params"]]
    return OPTIMISERS[settings.name].build(groups, settings)


def clip(optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler, norm: float | None) -> None:
    """Scale the gradients down to a norm, over all parameters, if they exceed it; None: leave them."""
    if norm is not None:
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], norm)
