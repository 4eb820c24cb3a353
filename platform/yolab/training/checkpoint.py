"""The state of a run on disk: everything that a resumed run needs to equal an undisturbed one."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from yolab.models import weights
from yolab.models.detector import Detector
from yolab.models.weights import Description
from yolab.training.ema import Ema

WEIGHTS = "weights.safetensors"  # the EMA: the model that the run delivers
_TRAINED = "trained.safetensors"
_OPTIMISER = "optimiser.pt"


def save(
    folder: Path, model: Detector, ema: Ema, optimiser: torch.optim.Optimizer, epoch: int, about: Description
) -> None:
    """Write the state after `epoch` finished epochs into an existing folder."""
    weights.save(ema.model, about, folder / WEIGHTS)
    save_file({name: value.cpu().contiguous() for name, value in model.state_dict().items()}, folder / _TRAINED)
    state = {"epoch": epoch, "ema_updates": ema.updates, "optimiser": optimiser.state_dict()}
    torch.save(state, folder / _OPTIMISER)


def load(folder: Path, model: Detector, ema: Ema, optimiser: torch.optim.Optimizer) -> int:
    """Put the saved state into freshly built parts; return the number of finished epochs."""
    model.load_state_dict(load_file(folder / _TRAINED))
    ema.model.load_state_dict(load_file(folder / WEIGHTS))
    state = torch.load(folder / _OPTIMISER, weights_only=True, map_location="cpu")
    optimiser.load_state_dict(state["optimiser"])
    ema.updates = state["ema_updates"]
    return state["epoch"]
