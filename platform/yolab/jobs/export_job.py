"""Export: a detector as an ONNX file."""

from dataclasses import dataclass
from pathlib import Path

from yolab.errors import UsageError
from yolab.jobs.new_file import new_file
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher
from yolab.jobs.weights_source import lineage_of, open_weights
from yolab.models import onnx_file
from yolab.models.detector import Detector


@dataclass(frozen=True)
class Export(Result):
    """`relative_difference`: the largest of onnxruntime's answers from torch's; `stride` and `image_size` in pixels."""

    onnx: str
    model: str
    nms: bool
    relative_difference: float
    stride: int
    image_size: int

    @property
    def megabytes(self) -> float:
        """The size of the file."""
        return Path(self.onnx).stat().st_size / 1e6


def export(
    output: str | Path,
    weights: str | Path,
    *,
    nms: bool = False,
    opset: int = onnx_file.OPSET,
    half: bool = False,
    static: bool = False,
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> Export:
    """Fold a detector and write it as an .onnx file, proven to answer as torch does.

    weights: a .safetensors file, or models:/NAME@ALIAS. nms: suppress overlapping boxes in the graph, too.
    opset: of ONNX. half: weights and convolutions in float16. static: for one image at a time, a square of the size
    that the model was trained at; the graph is simpler, which some runtimes need. Raises
    UsageError, also if there is something at `output`, and YolabError if the answers differ.
    """
    path = new_file(output, ".onnx")
    detector, spec = open_weights(weights, storage)
    if not isinstance(detector, Detector):
        raise UsageError(f"{weights} is an ONNX file already: give the weights that it was made of.")
    watcher.progress("Exporting")
    difference = onnx_file.export(
        detector, spec, path, lineage_of(weights, storage), nms, opset=opset, half=half, static=static
    )
    return Export(str(path), spec.model.name, nms, difference, max(detector.strides), spec.image_size)
