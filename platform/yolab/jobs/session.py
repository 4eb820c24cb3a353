"""What the jobs of a session share: where runs are kept, and where MLflow is."""

from dataclasses import dataclass
from pathlib import Path

from yolab.experiment import Experiment
from yolab.storage import Storage
from yolab.tracking import mlflow_runs, mlflow_uri


@dataclass(frozen=True)
class Session:
    """`storage` keeps the runs; `uri` is MLflow's, where an experiment names no other one."""

    storage: Storage
    uri: str

    @classmethod
    def at(cls, storage: str | Path | Storage | None = None, uri: str | None = None) -> "Session":
        """Return the session of a storage (None: YOLAB_STORAGE, else `runs` here) and of an MLflow (None:
        MLFLOW_TRACKING_URI, else an SQLite file in the storage). Raises UsageError."""
        place = Storage.at(storage)
        return cls(place, mlflow_uri.absolute(uri) if uri else mlflow_uri.default_uri(place.path))

    def uri_of(self, experiment: Experiment) -> str:
        """Return the MLflow URI of an experiment that is about to begin: the storage takes files, and MLflow has been
        asked whether it answers. Raises YolabError."""
        self.storage.require_writable()
        uri = mlflow_uri.tracking_uri(experiment, self.uri)
        mlflow_runs.check_answers(uri)
        return uri
