"""Published checkpoints of the reference implementation, as weights of ours.

Both sides number their layers in the order of the graph, so their tensors correspond one to one in that order; which
model it is shows in the tensors' shapes.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolab.data.coco_names import COCO_NAMES
from yolab.errors import UsageError
from yolab.experiment import Model
from yolab.models import pickled, zoo
from yolab.models.blueprint import Anchors, Blueprint
from yolab.models.detector import Detector
from yolab.models.spec import DetectorSpec

_OF_EVERY_MODEL = ("anchors", "anchor_grid", "num_batches_tracked")  # constants, or counters that nothing reads
_ACTIVATIONS = {"SiLU": "silu", "LeakyReLU": "leaky_relu"}


def read(path: Path, name: str | None = None) -> tuple[Detector, DetectorSpec]:
    """Return the detector of a pickled checkpoint, on the CPU in fp32, without running anything that is in the file.

    Takes the averaged weights (EMA) where the file has them. `name` says which model it is, where several have the same
    tensors. Raises UsageError if the file can't be read safely, or is no model that we know.
    """
    content = pickled.read(path)
    found = _model_of(content)
    if found is None:
        raise UsageError(f"{path} holds no model: expected `model` or `ema`, or tensors by name.")
    if isinstance(found, pickled.StandIn):
        tensors, kinds, about = pickled.tensors_of(found), pickled.kinds_of(found), found.state
    else:
        tensors, kinds, about = dict(found), set[str](), {}
    learned = {key: value for key, value in tensors.items() if not key.endswith(_OF_EVERY_MODEL)}
    description = _recognise(list(learned.values()), kinds, name, path)
    description = replace(description, names=_names(about, len(description.names)))
    description = replace(description, anchors=_anchors(tensors, description))
    return _with_tensors(description, list(learned.values())), description


def _model_of(content: Any) -> Any:
    """Return the pickled module, or the tensors by name, of a checkpoint."""
    if isinstance(content, pickled.StandIn):
        return content
    if not isinstance(content, Mapping):
        return None
    for key in ("ema", "model", "state_dict"):
        inner = content.get(key)
        if isinstance(inner, pickled.StandIn) or (isinstance(inner, Mapping) and inner):
            return inner
    return content if content and all(isinstance(value, Tensor) for value in content.values()) else None


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
    with torch.device("meta"):
        probe = _shapes_of(Detector(blueprint, 1))
    if len(probe) != len(shapes):
        return None
    first_output = list(probe).index("head.outputs.0.weight")
    classes = shapes[first_output][0] // len(blueprint.anchors[0]) - 5
    if classes < 1:
        return None
    with torch.device("meta"):
        return classes if list(_shapes_of(Detector(blueprint, classes)).values()) == shapes else None


def _shapes_of(detector: Detector) -> dict[str, tuple[int, ...]]:
    state = detector.state_dict()
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith(_OF_EVERY_MODEL)}


def _names(about: Mapping[str, Any], classes: int) -> tuple[str, ...]:
    """Return the names that the file gives its classes; COCO's for 80 without names."""
    given = about.get("names")
    given = list(given.values()) if isinstance(given, Mapping) else given
    if isinstance(given, list) and len(given) == classes and all(isinstance(name, str) for name in given):
        return tuple(given)
    return COCO_NAMES if classes == len(COCO_NAMES) else tuple(f"class {number}" for number in range(classes))


def _anchors(tensors: Mapping[str, Tensor], description: DetectorSpec) -> Anchors | None:
    """Return the file's anchors in pixels, if they aren't the model's own; the file has them in cells."""
    blueprint = description.blueprint()
    stored = next((value for key, value in tensors.items() if key.split(".")[-1] == "anchors"), None)
    own = torch.tensor(blueprint.anchors, dtype=torch.float32)
    if stored is None or stored.shape != own.shape:
        return None
    with torch.device("meta"):
        strides = Detector(blueprint, 1).strides
    pixels = stored.float() * torch.tensor(strides).view(-1, 1, 1)
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
