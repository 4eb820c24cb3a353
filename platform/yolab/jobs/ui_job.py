"""MLflow's web pages over the runs."""

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from yolab.errors import UsageError
from yolab.jobs.result import Result
from yolab.jobs.session import Session
from yolab.tracking import mlflow_runs, mlflow_uri


@dataclass(frozen=True)
class Pages(Result):
    """Where the pages are, and the command that serves them, None if a server does already."""

    address: str
    command: tuple[str, ...] | None

    def serve(self) -> None:
        """Become the server: it takes the place of this process, so that who ends this process ends the server."""
        if self.command:
            # MLflow's job runner would be four more processes.
            os.execve(self.command[0], list(self.command), os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


def ui(
    *, port: int = 5000, host: str = "127.0.0.1", storage: str | Path | None = None, uri: str | None = None
) -> Pages:
    """Say how the runs' pages are served at a port. Raises UsageError without runs, or if the port is taken."""
    where = Session.at(storage, uri).uri
    if where.startswith(("http://", "https://")):
        return Pages(mlflow_uri.without_password(where), None)
    if mlflow_uri.database_is_missing(where):
        raise UsageError(f"There are no runs at {where} yet: `yolab train EXPERIMENT.yaml` makes one.")
    _check_free(host, port)
    command = (sys.executable, "-m", "mlflow", "server", "--backend-store-uri", where, "--workers", "1")
    return Pages(
        f"http://{host}:{port}/{mlflow_runs.page_of_newest(where)}", (*command, "--host", host, "--port", str(port))
    )


def _check_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise UsageError(f"Can't listen on {host}:{port} ({error.strerror}): take another one with --port.") from None
