"""Where a job's weights come from: a file, or the registry."""

from pathlib import Path

from yolab.models import source
from yolab.models.detector import Detector
from yolab.models.onnx_file import OnnxDetector
from yolab.models.spec import DetectorSpec

_REGISTERED = "models:/"


def open_weights(
    weights: str | Path, storage: str | Path | None = None
) -> tuple[Detector | OnnxDetector, DetectorSpec]:
    """Return the detector of a .safetensors or .onnx file, or of a registered model, `models:/NAME@ALIAS` or
    `models:/NAME/3`, on the CPU.

    The registry is that of MLFLOW_TRACKING_URI, else the one in the storage. Raises UsageError if there is no such
    model.
    """
    if not str(weights).startswith(_REGISTERED):
        return source.open_file(Path(weights))
    from yolab.jobs.session import Session
    from yolab.registry import package  # here, because a file needs no MLflow, which takes 2 s to import

    return package.open_registered(str(weights), Session.at(storage).uri)


def lineage_of(weights: str | Path, storage: str | Path | None = None) -> dict[str, str]:
    """Return what weights come from: of a registered model run, configuration, data and code; of a file its content.
    Raises UsageError."""
    if not str(weights).startswith(_REGISTERED):
        return source.lineage_of(Path(weights))
    from yolab.jobs.session import Session
    from yolab.registry import package  # as above

    return package.lineage_of(str(weights), Session.at(storage).uri)
