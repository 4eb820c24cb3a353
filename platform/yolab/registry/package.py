"""A folded detector as a model of MLflow, and the way back."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
from mlflow.environment_variables import MLFLOW_TRACKING_URI
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import ModelInfo
from mlflow.tracking._tracking_service.utils import _use_tracking_uri

from yolab.errors import UsageError
from yolab.models import weights
from yolab.models.detector import Detector
from yolab.models.spec import DetectorSpec
from yolab.tracking import artifacts_beside, mlflow_runs
from yolab.tracking.mlflow_uri import without_password

WEIGHTS_FILE = "weights.safetensors"
_REQUIREMENTS = [  # what served.py imports, and what that imports
    f"yolab=={metadata.version('yolab')}",
    "faster-coco-eval",
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pydantic",
    "safetensors",
    "torch",
    "torchvision",
]


def log_package(uri: str, run_id: str, weights_file: Path, about: dict[str, str]) -> ModelInfo:
    """Package a folded detector's weights with the run that made them, whose state stays as it is. Raises UsageError if
    the storage was moved, YolabError if MLflow can't be used."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with speaking_to(uri):
        client = mlflow_runs.client(uri)
        run = client.get_run(run_id)
        artifacts_beside.require_not_moved(uri, client.get_experiment(run.info.experiment_id))
        # made here, since MLflow would put it into its default experiment, or fail the run together with the model
        model = client.create_logged_model(run.info.experiment_id, "detector", run_id, params=run.data.params)
        return Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            model_id=model.model_id,
            run_id=run_id,
            python_model=str(Path(__file__).parent / "served.py"),
            artifacts={"weights": str(weights_file)},
            pip_requirements=_REQUIREMENTS,
            metadata=about,
        )


def open_registered(model_uri: str, uri: str) -> tuple[Detector, DetectorSpec]:
    """Return the detector of a registered model, `models:/NAME@ALIAS` or `models:/NAME/3`, on the CPU. Raises
    UsageError if there is none."""
    return weights.load(download(model_uri, uri) / WEIGHTS_FILE)


def download(model_uri: str, uri: str) -> Path:
    """Return a local folder with the packaged artifacts of a model. Raises UsageError if there is none."""
    if not re.fullmatch(r"models:/[^/@]+(@[^/@]+|/[^/@]+)", model_uri):
        raise UsageError(f"{model_uri} doesn't say which version: write models:/NAME@champion, or models:/NAME/1.")

    with speaking_to(uri):
        try:
            return Path(mlflow.artifacts.download_artifacts(f"{model_uri}/artifacts", tracking_uri=uri))
        except MlflowException as error:
            if not mlflow_runs.is_missing(error):
                raise
            raise UsageError(f"There is no model {model_uri} in {without_password(uri)}: {error}") from None


def served(model_uri: str, uri: str) -> Any:
    """Return the packaged model as MLflow serves it. Raises YolabError if MLflow can't be used."""
    with speaking_to(uri):
        return mlflow.pyfunc.load_model(model_uri)


def lineage_of(model_uri: str, uri: str) -> dict[str, str]:
    """Return what a registered model comes from: run, configuration, data and code. Raises YolabError if MLflow can't
    be used."""
    with speaking_to(uri):
        about = mlflow.models.get_model_info(model_uri).metadata or {}
    return {"registered_model": model_uri, **{key: str(value) for key, value in about.items()}}


@contextmanager
def speaking_to(uri: str) -> Iterator[None]:
    """Let MLflow's own functions speak to the server at `uri` inside the block, and to the caller's own again after it;
    what they raise becomes words."""
    given = os.environ.get(MLFLOW_TRACKING_URI.name)
    try:
        with mlflow_runs.in_words(uri), _use_tracking_uri(uri):
            yield
    finally:
        if given is not None:  # which MLflow sets, and takes away
            os.environ[MLFLOW_TRACKING_URI.name] = given
