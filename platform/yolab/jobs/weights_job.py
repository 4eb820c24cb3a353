"""Weights: checkpoints from elsewhere."""

from dataclasses import dataclass
from pathlib import Path

from yolab.errors import UsageError
from yolab.jobs.result import Result
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


def import_weights(checkpoint: str | Path, output: str | Path, *, model: str | None = None) -> ImportedWeights:
    """Turn a published checkpoint into a .safetensors file, without running any code that is in it.

    model: which one it is, if its tensors fit several. Raises UsageError, also if there is something at `output`.
    """
    path = Path(output)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path} must end in .safetensors: that is what yolab's weights are.")
    if path.exists():
        raise UsageError(f"{path} is there already: name another file, or remove it.")
    detector, spec = published_checkpoints.read(Path(checkpoint), model)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights.save(detector, spec, path)
    graph = "trained graph" if spec.implicit or spec.auxiliary else "deploy graph"
    return ImportedWeights(str(path), spec.model.name, graph, list(spec.names), parameters(detector))
