"""Weights on disk: one safetensors file that says in its header which detector it belongs to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from yolab import experiment
from yolab.errors import UsageError
from yolab.models.detector import Detector, blueprint_of
from yolab.models.fold import fold


@dataclass(frozen=True)
class Description:
    """What is needed to build and use a detector: `names` of its classes in order, the input's long side in pixels,
    and whether the graph is folded."""

    model: experiment.Model
    names: tuple[str, ...]
    image_size: int
    folded: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"model": self.model.model_dump()})

    @classmethod
    def from_json(cls, text: str) -> "Description":
        values = json.loads(text)
        model = experiment.Model.model_validate(values["model"])
        return cls(model, tuple(values["names"]), values["image_size"], values["folded"])

    def build(self) -> Detector:
        """Return the detector with fresh weights."""
        detector = Detector(blueprint_of(self.model), len(self.names))
        return fold(detector) if self.folded else detector


def save(detector: Detector, description: Description, path: Path) -> None:
    """Write the detector's tensors and its description."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    save_file(tensors, path, metadata={"yolab": description.to_json()})


def load(path: Path | str) -> tuple[Detector, Description]:
    """Return the detector of a file in eval mode, on the CPU. Raises UsageError if it isn't one of yolab's."""
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("yolab")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UsageError(f"There are no weights at {path}: give a .safetensors file of yolab's.") from None
    except (SafetensorError, OSError) as error:
        raise UsageError(f"Can't read the weights {path}: {error}. Give a .safetensors file of yolab's.") from None
    if header is None:
        raise UsageError(f"{path} doesn't say which model it belongs to: give a file that yolab wrote.")
    description = Description.from_json(header)
    with torch.device("meta"):
        detector = description.build()
    detector.load_state_dict(tensors, assign=True)
    detector.anchors = torch.tensor(detector.blueprint.anchors, dtype=torch.float32)
    return detector.eval(), description
