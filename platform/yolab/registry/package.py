"""A folded detector as a model of MLflow, and the way back."""

import logging
import re
from pathlib import Path
from typing import Any

import mlflow

from yolab.errors import UsageError
from yolab.models import weights
from yolab.models.detector import Detector
from yolab.models.spec import DetectorSpec
from yolab.tracking import mlflow_runs

WEIGHTS_FILE = "weights.safetensors"
_REQUIREMENTS = ["faster-coco-eval", "mlflow", "numpy", "opencv-python-headless", "pydantic", "safetensors", "torch"]


def log_package(uri: str, run_id: str, weights_file: Path, metadata: dict[str, str]) -> str:
    """Package a folded detector's weights with the run that made them; return the URI of the logged model."""
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


def open_registered(model_uri: str, uri: str) -> tuple[Detector, DetectorSpec]:
    """Return the detector of a registered model, `models:/NAME@ALIAS` or `models:/NAME/3`, on the CPU. Raises
    UsageError if there is none."""
    return weights.load(download(model_uri, uri) / WEIGHTS_FILE)


def download(model_uri: str, uri: str) -> Path:
    """Return a local folder with the packaged artifacts of a model. Raises UsageError if there is none."""
    if not re.fullmatch(r"models:/[^/@]+(@[^/@]+|/[^/@]+)", model_uri):
        raise UsageError(f"{model_uri} doesn't say which version: write models:/NAME@champion, or models:/NAME/1.")

    mlflow.set_tracking_uri(uri)
    try:
        return Path(mlflow.artifacts.download_artifacts(f"{model_uri}/artifacts", tracking_uri=uri))
    except (mlflow.MlflowException, OSError) as error:
        raise UsageError(f"There is no model {model_uri} in {uri}: {error}") from None


def served(model_uri: str, uri: str) -> Any:
    """Return the packaged model as MLflow serves it."""
    mlflow.set_tracking_uri(uri)
    return mlflow.pyfunc.load_model(model_uri)


def lineage_of(model_uri: str, uri: str) -> dict[str, str]:
    """Return what a registered model comes from: run, configuration, data and code."""
    mlflow.set_tracking_uri(uri)
    metadata = mlflow.models.get_model_info(model_uri).metadata or {}
    return {"registered_model": model_uri, **{key: str(value) for key, value in metadata.items()}}
