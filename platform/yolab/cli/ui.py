"""yolab ui: MLflow's pages over the runs."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import console
from yolab.errors import UsageError


def ui(
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    uri: Annotated[
        str | None, typer.Option(help="Of MLflow; default: MLFLOW_TRACKING_URI, else the file in home.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="To listen on.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Open MLflow's web pages over the runs, until Ctrl-C.

    Example: yolab ui --port 5001
    """
    from yolab.tracking.mlflow_runs import database_is_missing, default_uri, without_password

    where = uri or default_uri(home)
    if where.startswith(("http://", "https://")):
        console.print(f"MLflow runs already: {without_password(where)}", markup=False, soft_wrap=True)
        return
    if database_is_missing(where):
        raise UsageError(f"There are no runs at {where} yet: `yolab train EXPERIMENT.yaml` makes one.")
    _check_free(host, port)
    console.print(f"MLflow: http://{host}:{port} (Ctrl-C ends it)", markup=False, soft_wrap=True)
    # In place of this process, so that who ends it ends the server. Its job runner would be four more processes.
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", where, "--workers", "1"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, [*command, "--host", host, "--port", str(port)], environment)


def _check_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise UsageError(f"Can't listen on {host}:{port} ({error.strerror}): take another one with --port.") from None
