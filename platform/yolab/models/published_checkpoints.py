"""Published checkpoints of the reference implementation, as weights of ours.

Both sides number their layers in the order of the graph, so their tensors correspond one to one in that order; which
model it is shows in the tensors' shapes.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolab.data.class_names import in_order, require
from yolab.data.coco_names import COCO_NAMES
from yolab.errors import UsageError
from yolab.experiment import Model
from yolab.models import pickled, zoo
from yolab.models.blueprint import Anchors, Blueprint
from yolab.models.detector import Detector, strides_of
from yolab.models.spec import DetectorSpec

_OF_EVERY_MODEL = ("anchors", "anchor_grid", "num_batches_tracked")  # constants, or counters that nothing reads
# where a checkpoint has its model; the averaged weights come first
_PLACES = ("ema", "ema_state_dict", "model", "model_state_dict", "state_dict", "module", "net")
_DEEPEST = 4  # of them within each other
_ACTIVATIONS = {"SiLU": "silu", "LeakyReLU": "leaky_relu"}


@dataclass(frozen=True)
class Published:
    """The detector of a checkpoint, on the CPU in fp32; `named` says whether the names of its classes were given, by
    the file or by the caller: without them they are COCO's for 80, and numbers otherwise."""

    detector: Detector
    spec: DetectorSpec
    named: bool


def read(path: Path, name: str | None = None, class_names: tuple[str, ...] | None = None) -> Published:
    """Return the detector of a pickled checkpoint, without running anything that is in the file.

    Takes the averaged weights (EMA) where the file has them. `name` says which model it is, where several have the same
    tensors; `class_names`, in their order, count more than those in the file. Raises UsageError if the file can't be
    read safely, or is no model that we know.
    """
    if path.suffix == ".safetensors":
        raise UsageError(
            f"{path} is a safetensors file. If yolab wrote it, it can be used as it is; others don't keep the order of "
            "their tensors, by which a model is recognised: give the .pt file that it was made of."
        )
    content = pickled.read(path)
    found = next(_models_in(content), None)
    if found is None:
        told = f"; it has {', '.join(map(str, list(content)[:8]))}" if isinstance(content, Mapping) and content else ""
        raise UsageError(
            f"{path} holds no model: expected a module or tensors by name, or one of {', '.join(_PLACES)}{told}."
        )
    learned = [value for key, value in found.tensors.items() if not key.endswith(_OF_EVERY_MODEL)]
    description = _recognise(learned, found.kinds, name, path)
    whole = next((tensor for tensor in learned if not tensor.is_floating_point()), None)
    if whole is not None:
        raise UsageError(f"{path} holds weights as {whole.dtype}: give the checkpoint from before it was quantised.")
    classes = len(description.names)
    names = class_names or in_order(found.names)
    if names:
        require(
            names, classes, "--names" if class_names else str(path), "say the classes, in their order, with --names."
        )
    description = replace(description, names=names or _default_names(classes))
    description = replace(description, anchors=_anchors(found.tensors, description))
    return Published(_with_tensors(description, learned), description, bool(names))


@dataclass(frozen=True)
class _Model:
    """Tensors by name, the classes of the modules that they were in, and what the file says of the class names."""

    tensors: Mapping[str, Tensor]
    kinds: set[str]
    names: Any


def _models_in(content: Any, names: Any = None, depth: int = 0) -> Iterator[_Model]:
    """Yield what may be the model of a checkpoint, the likeliest first: a pickled module, or tensors by name, as it is
    or under any of the usual names."""
    if isinstance(content, pickled.StandIn):
        content = pickled.unwrapped(content)
        about = content.state if isinstance(content.state, Mapping) else {}
        names = about.get("names", names)
        tensors = pickled.tensors_of(content)
        if tensors:
            yield _Model(tensors, pickled.kinds_of(content), names)
        content = about
    if not isinstance(content, Mapping) or depth == _DEEPEST:
        return
    names = content.get("names", names)
    for place in _PLACES:
        yield from _models_in(content.get(place), names, depth + 1)
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield _Model(tensors, set(), names)


def _recognise(tensors: list[Tensor], kinds: set[str], name: str | None, path: Path) -> DetectorSpec:
    """Return the description of the model whose tensors have these shapes, as trained or as deployed."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    activations = {_ACTIVATIONS[kind] for kind in kinds if kind in _ACTIVATIONS}
    for blueprint in [zoo.find(name)] if name else zoo.BLUEPRINTS.values():
        if name is None and activations and blueprint.activation not in activations:
            continue
        model = Model(name=blueprint.name)
        for auxiliary in sorted({bool(blueprint.auxiliary), False}, reverse=True):
            for implicit in sorted({blueprint.implicit, False}, reverse=True):
                about = DetectorSpec(model, ("",), blueprint.image_size, auxiliary=auxiliary, implicit=implicit)
                classes = _classes_if_equal(about.blueprint(), shapes)
                if classes:
                    return replace(about, names=("",) * classes)
    wanted = f"not of {name}" if name else "of no model that yolab knows (`yolab models` lists them)"
    raise UsageError(f"{path} has {len(shapes)} tensors with the shapes {wanted}.")


def _classes_if_equal(blueprint: Blueprint, shapes: list[tuple[int, ...]]) -> int | None:
    """Return the number of classes with which the blueprint's tensors have exactly these shapes."""
    probe = _shapes_with(blueprint, 1)
    if len(probe) != len(shapes):
        return None
    first_output = list(probe).index("head.outputs.0.weight")
    if not shapes[first_output]:
        return None
    classes = shapes[first_output][0] // len(blueprint.anchors[0]) - 5
    return classes if classes >= 1 and list(_shapes_with(blueprint, classes).values()) == shapes else None


@functools.cache
def _shapes_with(blueprint: Blueprint, classes: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return _shapes_of(Detector(blueprint, classes))


def _shapes_of(detector: Detector) -> dict[str, tuple[int, ...]]:
    state = detector.state_dict()
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith(_OF_EVERY_MODEL)}


def _default_names(classes: int) -> tuple[str, ...]:
    return COCO_NAMES if classes == len(COCO_NAMES) else tuple(f"class {number}" for number in range(classes))


def _anchors(tensors: Mapping[str, Tensor], description: DetectorSpec) -> Anchors | None:
    """Return the file's anchors in pixels, if they aren't the model's own; the file has them in cells."""
    blueprint = description.blueprint()
    stored = next((value for key, value in tensors.items() if key.split(".")[-1] == "anchors"), None)
    own = torch.tensor(blueprint.anchors, dtype=torch.float32)
    if stored is None or stored.shape != own.shape:
        return None
    pixels = stored.float() * torch.tensor(strides_of(blueprint)).view(-1, 1, 1)
    if torch.allclose(pixels, own, rtol=0.01):
        return None
    return tuple(tuple((w, h) for w, h in level) for level in pixels.tolist())


def _with_tensors(description: DetectorSpec, tensors: list[Tensor]) -> Detector:
    with torch.device("meta"):
        detector = description.build()
    names = _shapes_of(detector)
    state = {name: value.float().clone() for name, value in zip(names, tensors)}
    counters = {name: torch.zeros((), dtype=torch.int64) for name in detector.state_dict() if name not in names}
    detector.load_state_dict(state | counters, assign=True)
    detector.anchors = torch.tensor(detector.blueprint.anchors, dtype=torch.float32)
    return detector.eval()
