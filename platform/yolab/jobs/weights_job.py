"""Weights: checkpoints from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolab.data import class_names
from yolab.data.coco_names import COCO_NAMES
from yolab.jobs.new_file import new_file
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher
from yolab.models import published_checkpoints, weights
from yolab.models.count import parameters


@dataclass(frozen=True)
class ImportedWeights(Result):
    """`graph`: whether it is the "trained graph" or the "deploy graph" of the model; `classes`: their names."""

    weights: str
    model: str
    graph: str
    classes: list[str]
    params: int


def import_weights(
    checkpoint: str | Path,
    output: str | Path,
    *,
    model: str | None = None,
    names: str | Path | Sequence[str] | None = None,
    watcher: Watcher = SILENT,
) -> ImportedWeights:
    """Turn a published checkpoint into a .safetensors file, without running any code that is in it.

    model: which one it is, if its tensors fit several. names: of the classes, in their order: a list, or a file with
    one a line, or with `names` in YAML; None: those in the checkpoint. Raises UsageError, also if there is something at
    `output`.
    """
    path = new_file(output, ".safetensors")
    listed = class_names.read(str(names)) if isinstance(names, (str, Path)) else tuple(names or ())
    found = published_checkpoints.read(Path(checkpoint), model, listed or None)
    spec = found.spec
    if not found.named:
        taken = "COCO's are taken" if spec.names == COCO_NAMES else f"they are called {spec.names[0]} and so on"
        watcher.note(f"note: {checkpoint} doesn't name its classes: {taken}. Say others with --names.")
    path.parent.mkdir(parents=True, exist_ok=True)
    weights.save(found.detector, spec, path)
    graph = "trained graph" if spec.implicit or spec.auxiliary else "deploy graph"
    return ImportedWeights(str(path), spec.model.name, graph, list(spec.names), parameters(found.detector))
