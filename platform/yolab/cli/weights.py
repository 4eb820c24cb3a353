"""yolab weights: checkpoints from elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import AsJson, say, show, terminal
from yolab.jobs import weights_job

app = typer.Typer(help="Import published checkpoints.", no_args_is_help=True)


@app.command("import")
def import_weights(
    checkpoint: Annotated[Path, typer.Argument(help="A .pt file of the published releases.")],
    output: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    model: Annotated[str | None, typer.Option(help="Which model it is, if its tensors fit several.")] = None,
    names: Annotated[
        str | None, typer.Option(help="Of the classes, in order: cat,dog or a file: one a line, or a data.yaml.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a published checkpoint into weights of yolab's, without running any code that is in it.

    Example: yolab weights import yolov7.pt yolov7.safetensors
    """
    with terminal() as watcher:
        result = weights_job.import_weights(checkpoint, output, model=model, names=names, watcher=watcher)
    about = f"{result.model}, {result.graph}, {len(result.classes)} classes, {result.params:,} parameters"
    show(result, as_json, lambda: say(f"{result.weights}: {about}"))
