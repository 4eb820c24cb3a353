"""Whether a run still has what it started with: a learning rate for training from scratch can destroy it in silence."""

import logging

import torch
from torch import nn

logger = logging.getLogger("yolab")

_TOO_FAR = 100.0  # times the largest variance at the start; in runs that learn it falls


class StartWatch:
    """Looks at the batch norms of a model that started from weights: their variances explode where those are lost,
    epochs before the AP of the EMA tells."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.at_start = _largest_variance(model)
        self.has_warned = False

    def look(self, epoch: int) -> None:
        """Warn, once, after an epoch (from 1) in which the weights of the start were lost."""
        grown = _largest_variance(self.model) / self.at_start
        if not grown < _TOO_FAR and not self.has_warned:
            self.has_warned = True
            logger.warning(
                "After epoch %d the variances of batch norm are %.0f times those of recipe.start: what was in its "
                "weights is being lost. Lower recipe.optimiser.lr, such as to 0.002, or set recipe.optimiser.clip.",
                epoch,
                grown,
            )


def _largest_variance(model: nn.Module) -> float:
    """Return the largest running variance of a model, NaN if one is no number any more."""
    variances = [module.running_var for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return float(torch.cat([each for each in variances if each is not None]).max())
