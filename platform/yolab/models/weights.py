"""Weights on disk: one safetensors file that says in its header which detector it belongs to."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from yolab import experiment
from yolab.assignment import policies
from yolab.errors import UsageError
from yolab.models.blueprint import Anchors, Blueprint, without_auxiliary
from yolab.models.detector import Detector, blueprint_of
from yolab.models.fold import fold


@dataclass(frozen=True)
class DetectorSpec:
    """What is needed to build and use a detector: `names` of its classes in order, the input's long side in pixels,
    whether the graph is folded, whether it has its auxiliary branch; `anchors` in pixels, None for the model's own."""

    model: experiment.Model
    names: tuple[str, ...]
    image_size: int
    folded: bool = False
    auxiliary: bool = False
    implicit: bool = True
    anchors: Anchors | None = None

    @classmethod
    def of(cls, run: experiment.Experiment, names: tuple[str, ...]) -> "DetectorSpec":
        """Return what an experiment trains for these classes."""
        return cls(run.model, names, run.data.image_size, auxiliary=policies.needs_auxiliary(run.assigner))

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"model": self.model.model_dump()})

    @classmethod
    def from_json(cls, text: str) -> "DetectorSpec":
        values = json.loads(text)
        values["model"] = experiment.Model.model_validate(values["model"])
        values["names"] = tuple(values["names"])
        if values["anchors"] is not None:
            values["anchors"] = tuple(tuple((w, h) for w, h in level) for level in values["anchors"])
        return cls(**values)

    def blueprint(self) -> Blueprint:
        blueprint = blueprint_of(self.model)
        if not self.auxiliary:
            blueprint = without_auxiliary(blueprint)
        implicit = blueprint.implicit and self.implicit
        return replace(blueprint, implicit=implicit, anchors=self.anchors or blueprint.anchors)

    def build(self) -> Detector:
        """Return the detector with fresh weights."""
        detector = Detector(self.blueprint(), len(self.names))
        return fold(detector) if self.folded else detector


def header(description: DetectorSpec) -> dict[str, str]:
    """Return what a file's header says of the detector whose tensors it holds."""
    return {"yolab": description.to_json()}


def save(detector: Detector, description: DetectorSpec, path: Path) -> None:
    """Write the detector's tensors and its description."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    save_file(tensors, path, metadata=header(description))


def load(path: Path | str) -> tuple[Detector, DetectorSpec]:
    """Return the detector of a file in eval mode, on the CPU. Raises UsageError if it isn't one of yolab's."""
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            described = (file.metadata() or {}).get("yolab")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UsageError(f"There are no weights at {path}: give a .safetensors file of yolab's.") from None
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"Can't read the weights {path}: {error}. Give a .safetensors file of yolab's; `yolab weights import` "
            "makes one of a published checkpoint."
        ) from None
    if described is None:
        raise UsageError(f"{path} doesn't say which model it belongs to: give a file that yolab wrote.")
    description = DetectorSpec.from_json(described)
    with torch.device("meta"):
        detector = description.build()
    detector.load_state_dict(tensors, assign=True)
    detector.anchors = torch.tensor(detector.blueprint.anchors, dtype=torch.float32)
    return detector.eval(), description


def unlike(source: Detector, target: Detector) -> list[str]:
    """Return the names of the target's tensors that have no like in the source, by name and shape: those of a head for
    other classes, for one."""
    given = source.state_dict()
    return [
        name for name, value in target.state_dict().items() if name not in given or given[name].shape != value.shape
    ]


def transfer(source: Detector, target: Detector) -> None:
    """Copy every tensor of the source that has its like in the target; the others keep their fresh values."""
    given, fresh = source.state_dict(), unlike(source, target)
    fitting = {name: given[name] for name in target.state_dict() if name not in fresh}
    target.load_state_dict(fitting, strict=False)
