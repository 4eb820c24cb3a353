"""yolab cp: make one's own of what comes with yolab."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import say
from yolab.jobs import shipped_job


def cp(
    name: Annotated[str, typer.Argument(help="Of an experiment, space, table or budget; yolab ls lists them.")],
    file: Annotated[Path, typer.Argument(help="The new file.")],
    kind: Annotated[
        str | None, typer.Option(help="experiment, space, table or budget, where several have that name.")
    ] = None,
) -> None:
    """Copy what comes with yolab into a new file, to make it your own.

    Example: yolab cp bccd mine.yaml
    """
    copy = shipped_job.cp(name, file, kind=kind)
    say(f"{copy.path} is a copy of the {copy.kind} {copy.name}.")
