"""yolab ui: MLflow's pages over the runs."""

from typing import Annotated

import typer

from yolab.cli.output import StorageOption, UriOption, say
from yolab.jobs import ui_job


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="To listen on.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    storage: StorageOption = None,
    uri: UriOption = None,
) -> None:
    """Open MLflow's web pages over the runs, until Ctrl-C.

    Example: yolab ui --port 5001
    """
    pages = ui_job.ui(port=port, host=host, storage=storage, uri=uri)
    if pages.command:
        say(f"MLflow: {pages.address} (Ctrl-C ends it)")
        pages.serve()
    else:
        say(f"MLflow runs already: {pages.address}")
