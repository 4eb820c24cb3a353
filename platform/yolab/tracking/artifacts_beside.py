"""Artifacts that lie next to an SQLite file, as <storage>/artifacts/<run id>/artifacts: where they are when the storage
was moved or copied. MLflow itself looks for them where they were written."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow.entities import Experiment

from yolab.errors import UsageError
from yolab.tracking.mlflow_uri import sqlite_file

_NAME = "artifacts"


def folder_of(uri: str) -> Path | None:
    """Return the folder for artifacts next to an SQLite file, None where the server chooses."""
    file = sqlite_file(uri)
    return file.resolve().parent / _NAME if file else None


def require_not_moved(uri: str, experiment: Experiment) -> None:
    """Raise UsageError if the files of an experiment would go to where its SQLite file was before it was moved, or was
    copied from."""
    here, there = folder_of(uri), _local(experiment.artifact_location)
    if here and there and there.name == _NAME and there != here:
        raise UsageError(
            f"{here.parent} was moved or copied from {there.parent}, where MLflow would go on to put the files of the "
            f"experiment {experiment.name!r}: move it back, or begin anew in another --storage. What is there can be "
            "read."
        )


def found_here(uri: str, run_id: str, artifact: str) -> Path | None:
    """Return a file of a run's artifacts that lies next to the SQLite file, None if there is none."""
    here = folder_of(uri)
    path = here / run_id / _NAME / artifact if here else None
    return path if path and path.exists() else None


def _local(artifacts: str) -> Path | None:
    """Return the folder of a file: URI, None for others."""
    parts = urlsplit(artifacts)
    return Path(unquote(parts.path)).resolve() if parts.scheme == "file" else None
