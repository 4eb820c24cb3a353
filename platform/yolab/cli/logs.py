"""yolab logs: what a run says, or said."""

from typing import Annotated

import typer

from yolab.cli.output import StorageOption, UriOption
from yolab.jobs import logs_job


def logs(
    run: Annotated[str, typer.Argument(help="A run of yolab train, or SWEEP/TRIAL, or an MLflow id.")],
    storage: StorageOption = None,
    uri: UriOption = None,
) -> None:
    """Print what a run logs, and follow it until it ends; a finished run's whole log.

    Example: yolab logs bccd-scaling/trial-003
    """
    for piece in logs_job.logs(run, storage=storage, uri=uri):
        print(piece, end="", flush=True)
