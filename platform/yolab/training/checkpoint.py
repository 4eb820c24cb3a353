"""The state of a run, in memory and on disk: everything that a resumed run needs to equal an undisturbed one."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from yolab.models import weights
from yolab.models.detector import Detector
from yolab.models.spec import DetectorSpec
from yolab.storage.document import FORMAT, check_version
from yolab.training.ema import Ema
from yolab.training.reporter import read_of_checkpoint

WEIGHTS = "weights.safetensors"  # the EMA: the model that the run delivers
_TRAINED = "trained.safetensors"
_REST = "optimiser.pt"
_VERSION = 2  # 1: only between epochs


@dataclass(frozen=True)
class Within:
    """How far a run is in the epoch after the last finished one: the batches that are done, the sums of the parts of
    the loss over them for each shard, and the seconds that they took."""

    batches: int = 0
    losses: tuple[tuple[float, ...], ...] = ()
    seconds: float = 0.0


@dataclass
class State:
    """What changes while a run trains; `epoch` is the last finished one."""

    model: Detector
    ema: Ema
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epoch: int = 0
    within: Within = Within()  # frozen

    def copied(self) -> "Snapshot":
        """Return a copy in the host's memory, which training leaves alone."""
        rest = io.BytesIO()
        state = {
            FORMAT: _VERSION,
            "epoch": self.epoch,
            "within": asdict(self.within),
            "ema_updates": self.ema.updates,
            "scaler": self.scaler.state_dict(),
        }
        torch.save(state | {"optimiser": self.optimiser.state_dict()}, rest)
        return Snapshot(_on_host(self.ema.model), _on_host(self.model), rest.getvalue())


@dataclass(frozen=True)
class Snapshot:
    """The weights, and everything else as `torch.save` writes it."""

    ema: dict[str, torch.Tensor]
    trained: dict[str, torch.Tensor]
    rest: bytes


def save(folder: Path, snapshot: Snapshot, about: DetectorSpec) -> None:
    """Write a state into an existing folder."""
    save_file(snapshot.ema, folder / WEIGHTS, metadata=weights.header(about))
    save_file(snapshot.trained, folder / _TRAINED)
    (folder / _REST).write_bytes(snapshot.rest)


def load(folder: Path, state: State) -> None:
    """Put a saved state into freshly built parts.

    Raises DamagedCheckpointError, with some of them filled, if a file isn't what `save` wrote, UsageError if a newer
    yolab wrote it.
    """
    for name, model in ((_TRAINED, state.model), (WEIGHTS, state.ema.model)):
        with read_of_checkpoint(folder / name):
            model.load_state_dict(load_file(folder / name))
    with read_of_checkpoint(folder / _REST):
        rest = torch.load(folder / _REST, weights_only=True, map_location="cpu")
        check_version(rest.get(FORMAT), _VERSION, str(folder / _REST))
        state.optimiser.load_state_dict(rest["optimiser"])
        state.scaler.load_state_dict(rest["scaler"])
        state.ema.updates, state.epoch = int(rest["ema_updates"]), int(rest["epoch"])
        state.within = Within(**rest["within"])


def _on_host(model: Detector) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
