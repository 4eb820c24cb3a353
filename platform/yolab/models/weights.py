"""Weights on disk: one safetensors file that says in its header which detector it belongs to."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from yolab.errors import UsageError
from yolab.experiment import listed
from yolab.models.detector import Detector
from yolab.models.heads import BEFORE_CLASSES
from yolab.models.spec import DetectorSpec

_OF_CLASSES = ("head.outputs.", "head.auxiliary.", "head.multiply.")  # anchors × (5 + classes) of them


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
    _require_fit(tensors, detector, path)
    detector.load_state_dict(tensors, assign=True)
    detector.anchors = torch.tensor(detector.blueprint.anchors, dtype=torch.float32)
    return detector.eval(), description


def _require_fit(tensors: Mapping[str, Tensor], detector: Detector, path: Path) -> None:
    """Raise UsageError unless the tensors of a file are those of the detector that it describes."""
    wanted = detector.state_dict()
    for told, names in (("lacks", wanted.keys() - tensors.keys()), ("has too many", tensors.keys() - wanted.keys())):
        if names:
            raise _unfit(path, f"it {told}: {listed(sorted(names))}")
    for name, value in wanted.items():
        has, needs = (f"{tuple(each.shape)} {each.dtype}".replace("torch.", "") for each in (tensors[name], value))
        if has != needs:
            raise _unfit(path, f"{name} is {has}, not {needs}")


def _unfit(path: Path, reason: str) -> UsageError:
    return UsageError(f"The tensors in {path} aren't those of the model that it describes: {reason}. Get it again.")


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file of weights, by which the registry knows it again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unlike(source: Detector, target: Detector) -> list[str]:
    """Return the names of the target's tensors that have no like in the source, by name and by shape, whatever the
    number of classes: those of blocks of another width, for one."""
    given, wanted = _by_class(source), _by_class(target)
    return [name for name, value in wanted.items() if name not in given or given[name].shape[1:] != value.shape[1:]]


@torch.no_grad()
def transfer(source: Detector, source_names: Sequence[str], target: Detector, target_names: Sequence[str]) -> None:
    """Copy every tensor of the source that has its like in the target; in the head what is of a class goes to that of
    the same name. The others keep their fresh values."""
    shared = [name for name in target_names if name in source_names]
    of_source, of_target = (
        [*range(BEFORE_CLASSES), *(BEFORE_CLASSES + names.index(name) for name in shared)]
        for names in (source_names, target_names)
    )
    given, fresh = _by_class(source), unlike(source, target)
    for name, value in _by_class(target).items():
        if name in fresh:
            continue
        if name.startswith(_OF_CLASSES):
            value[of_target] = given[name][of_source]
        else:
            value.copy_(given[name])


def _by_class(detector: Detector) -> dict[str, Tensor]:
    """Return views of the detector's tensors: of the head's outputs as (5 + classes, …), of the others as (1, …)."""
    anchors = detector.head.anchors_a_level
    viewed = {}
    for name, value in detector.state_dict().items():
        if name.startswith(_OF_CLASSES):
            rows = value.movedim(1, 0) if name.startswith(_OF_CLASSES[-1]) else value
            viewed[name] = rows.unflatten(0, (anchors, -1)).transpose(0, 1)
        else:
            viewed[name] = value[None]
    return viewed
