"""Where a job's weights come from: a file, the registry, or a run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.models import source
from yolab.models.detector import Detector
from yolab.models.onnx_file import OnnxDetector
from yolab.models.spec import DetectorSpec
from yolab.storage import local_file

_REGISTERED = "models:/"
_FILES = (".safetensors", ".onnx", ".pt")  # how names of files end: such a name is no run's


def one_of(run: str | None, weights: str | None) -> str:
    """Return the weights that are meant where a run or weights can be named. Raises UsageError unless one is."""
    if run and weights:
        raise UsageError(f"Both the run {run} and --weights {weights} are given: leave one out.")
    if not run and not weights:
        raise UsageError("There is nothing to detect with: name a run, or give --weights.")
    return str(run or weights)


def open_weights(
    weights: str | Path, storage: str | Path | None = None
) -> tuple[Detector | OnnxDetector, DetectorSpec]:
    """Return the detector of a .safetensors or .onnx file, of a registered model, `models:/NAME@ALIAS` or
    `models:/NAME/3`, or of a run by its name, SWEEP/TRIAL or its MLflow id, on the CPU.

    Registry and runs are those of MLFLOW_TRACKING_URI, else of the storage. Raises UsageError if there is no such model
    or run.
    """
    if not str(weights).startswith(_REGISTERED):
        with _file(weights, storage) as file:
            return source.open_file(file)
    from yolab.jobs.session import Session
    from yolab.registry import package  # here, because a file needs no MLflow, which takes 2 s to import

    return package.open_registered(str(weights), Session.at(storage).uri)


def lineage_of(weights: str | Path, storage: str | Path | None = None) -> dict[str, str]:
    """Return what weights come from: of a registered model run, configuration, data and code; of a file, or a run's
    file, its content. Raises UsageError."""
    if not str(weights).startswith(_REGISTERED):
        with _file(weights, storage) as file:
            return source.lineage_of(file)
    from yolab.jobs.session import Session
    from yolab.registry import package  # as above

    return package.lineage_of(str(weights), Session.at(storage).uri)


def run_of(weights: str | Path, storage: str | Path | None = None) -> dict[str, Any] | None:
    """Return the finished run that is meant, as `mlflow_runs.list_runs` describes it; None if it is a file or a
    registered model. Raises UsageError if there is none of that name."""
    named = str(weights)
    if named.startswith(_REGISTERED) or Path(named).exists() or named.endswith(_FILES):
        return None
    from yolab.jobs.session import Session
    from yolab.tracking import find_runs  # as above

    return find_runs.named_run(Session.at(storage).uri, named)


@contextmanager
def _file(weights: str | Path, storage: str | Path | None) -> Iterator[Path]:
    """Give the file of weights, or of a run's, as a local one inside the block."""
    run = run_of(weights, storage)
    if run is None:
        yield Path(weights)
        return
    from yolab.jobs.session import Session
    from yolab.tracking.find_runs import weights_of  # as above

    with tempfile.TemporaryDirectory() as scratch:
        yield local_file(weights_of(run, Session.at(storage).place), Path(scratch))
