"""Weights from a file: a detector of torch, or of ONNX."""

from pathlib import Path

from yolab.models import onnx_file, weights
from yolab.models.detector import Detector
from yolab.models.onnx_file import OnnxDetector
from yolab.models.spec import DetectorSpec


def open_file(path: Path) -> tuple[Detector | OnnxDetector, DetectorSpec]:
    """Return the detector of a .safetensors or .onnx file, on the CPU. Raises UsageError if it isn't one of yolab's."""
    return onnx_file.load(path) if path.suffix == ".onnx" else weights.load(path)


def lineage_of(path: Path) -> dict[str, str]:
    """Return what is known of where a file of weights comes from: its name and its content."""
    return {"weights": path.name, "weights_sha256": weights.fingerprint(path)}
