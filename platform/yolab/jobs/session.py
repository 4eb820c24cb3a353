"""What the jobs of a session share: where runs are kept, and where MLflow is."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from yolab.experiment import Experiment
from yolab.storage import Storage, storage_at
from yolab.tracking import mlflow_runs, mlflow_uri


@dataclass(frozen=True)
class Session:
    """The runs are in the `place`; MLflow is at `given`, if an address was."""

    place: Storage
    given: str | None

    @classmethod
    def at(cls, storage: str | Path | Storage | None = None, uri: str | None = None) -> "Session":
        """Return the session of a storage (None: YOLAB_STORAGE, else `runs` here) and of an MLflow (None:
        MLFLOW_TRACKING_URI, else an SQLite file in the storage). Raises UsageError."""
        return cls(storage_at(storage), uri)

    @cached_property
    def storage(self) -> Storage:
        """Where the runs are, if it answers; raises YolabError within seconds, where one who has begun would wait."""
        self.place.knock()
        return self.place

    @property
    def uri(self) -> str:
        """MLflow's, where an experiment names no other one. Raises UsageError if there can be none."""
        return mlflow_uri.absolute(self.given) if self.given else mlflow_uri.default_uri(self.place)

    def uri_of(self, experiment: Experiment) -> str:
        """Return the MLflow URI of an experiment that is about to begin: the storage takes files, and MLflow has been
        asked whether it answers. Raises YolabError."""
        self.storage.require_writable()
        uri = mlflow_uri.tracking_uri(experiment, lambda: self.uri)
        mlflow_runs.check_answers(uri)
        return uri
