"""A folded detector as a model of MLflow, and the way back."""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.models import onnx_file, weights
from yolab.models.detector import Detector
from yolab.models.onnx_file import OnnxDetector
from yolab.models.weights import DetectorSpec
from yolab.tracking import mlflow_runs

WEIGHTS_FILE = "weights.safetensors"
_REQUIREMENTS = ["faster-coco-eval", "mlflow", "numpy", "opencv-python-headless", "pydantic", "safetensors", "torch"]


def log_package(uri: str, run_id: str, weights_file: Path, metadata: dict[str, str]) -> str:
    """Package a folded detector's weights with the run that made them; return the URI of the logged model."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    ended = mlflow_runs.client(uri).get_run(run_id).info
    with mlflow.start_run(run_id=run_id):
        info = mlflow.pyfunc.log_model(
            name="detector",
            python_model=str(Path(__file__).parent / "served.py"),
            artifacts={"weights": str(weights_file)},
            pip_requirements=_REQUIREMENTS,
            metadata=metadata,
        )
    mlflow_runs.client(uri).set_terminated(run_id, ended.status, ended.end_time)  # the packaging is no part of the run
    return str(info.model_uri)


def open_weights(place: str, home: Path) -> tuple[Detector | OnnxDetector, DetectorSpec]:
    """Return the detector of a .safetensors or .onnx file, or of a registered model, `models:/NAME@ALIAS` or
    `models:/NAME/3`.

    The registry is that of MLFLOW_TRACKING_URI, else the one in `home`. Raises UsageError if there is no such model.
    """
    if place.endswith(".onnx"):
        return onnx_file.load(Path(place))
    if not place.startswith("models:/"):
        return weights.load(place)
    return weights.load(download(place, mlflow_runs.default_uri(home)) / WEIGHTS_FILE)


def download(model_uri: str, uri: str) -> Path:
    """Return a local folder with the packaged artifacts of a model. Raises UsageError if there is none."""
    import mlflow

    if not re.fullmatch(r"models:/[^/@]+(@[^/@]+|/[^/@]+)", model_uri):
        raise UsageError(f"{model_uri} doesn't say which version: write models:/NAME@champion, or models:/NAME/1.")

    mlflow.set_tracking_uri(uri)
    try:
        return Path(mlflow.artifacts.download_artifacts(f"{model_uri}/artifacts", tracking_uri=uri))
    except (mlflow.MlflowException, OSError) as error:
        raise UsageError(f"There is no model {model_uri} in {uri}: {error}") from None


def served(model_uri: str, uri: str) -> Any:
    """Return the packaged model as MLflow serves it."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    return mlflow.pyfunc.load_model(model_uri)


def fingerprint(weights_file: Path) -> str:
    """Return the SHA-256 of a file of weights, by which the registry knows it again."""
    return hashlib.sha256(weights_file.read_bytes()).hexdigest()


def lineage_of(place: str, home: Path) -> dict[str, str]:
    """Return what weights come from: of a registered model run, configuration, data and code; of a file its content."""
    if not place.startswith("models:/"):
        return {"weights": Path(place).name, "weights_sha256": fingerprint(Path(place))}
    import mlflow

    mlflow.set_tracking_uri(mlflow_runs.default_uri(home))
    metadata = mlflow.models.get_model_info(place).metadata or {}
    return {"registered_model": place, **{key: str(value) for key, value in metadata.items()}}
