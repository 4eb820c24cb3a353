"""Weights on disk: one safetensors file that says in its header which detector it belongs to."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from yolab.errors import UsageError
from yolab.models.detector import Detector
from yolab.models.spec import DetectorSpec


def header(description: DetectorSpec) -> dict[str, str]:
    """Return what a file's header says of the detector whose tensors it holds."""
    return {"yolab": description.to_json()}


def save(detector: Detector, description: DetectorSpec, path: Path) -> None:
    """Write the detector's tensors and its description."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    save_file(tensors, path, metadata=header(description))


def load(path: Path | str) -> tuple[Detector, DetectorSpec]:
    """Return the detector of a file in eval mode, on the CPU. Raises UsageError if it isn't one of yolab's, or
    a newer yolab's."""
    path = Path(path)
    try:
        path.open("rb").close()  # safetensors says less of what can't be opened
        with safe_open(path, framework="pt") as file:
            described = (file.metadata() or {}).get("yolab")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"There are no weights at {path}: give a .safetensors file of yolab's.") from None
    except (SafetensorError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no whole safetensors file"
        raise UsageError(
            f"Can't read the weights {path}: {reason}. Give a .safetensors file of yolab's; `yolab weights import` "
            "makes one of a published checkpoint."
        ) from None
    if described is None:
        raise UsageError(f"{path} doesn't say which model it belongs to: give a file that yolab wrote.")
    description = DetectorSpec.from_json(described, str(path))
    with torch.device("meta"):
        detector = description.build()
    detector.load_state_dict(tensors, assign=True)
    detector.anchors = torch.tensor(detector.blueprint.anchors, dtype=torch.float32)
    return detector.eval(), description


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file of weights, by which the registry knows it again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
