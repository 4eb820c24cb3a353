"""yolab weights: checkpoints from elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import JsonOption, console, print_json

app = typer.Typer(help="Import published checkpoints.", no_args_is_help=True)


@app.command("import")
def import_weights(
    checkpoint: Annotated[Path, typer.Argument(help="A .pt file of the published releases.")],
    output: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    model: Annotated[str | None, typer.Option(help="Which model it is, if its tensors fit several.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Turn a published checkpoint into weights of yolab's, without running any code that is in it.

    Example: yolab weights import yolov7.pt yolov7.safetensors
    """
    from yolab.errors import UsageError
    from yolab.models import published_checkpoints, weights
    from yolab.models.count import parameters

    if output.suffix != ".safetensors":
        raise UsageError(f"{output} must end in .safetensors: that is what yolab's weights are.")
    if output.exists():
        raise UsageError(f"{output} is there already: name another file, or remove it.")
    detector, about = published_checkpoints.read(checkpoint, model)
    output.parent.mkdir(parents=True, exist_ok=True)
    weights.save(detector, about, output)
    graph = "trained graph" if about.implicit or about.auxiliary else "deploy graph"
    found = {
        "weights": str(output),
        "model": about.model.name,
        "graph": graph,
        "classes": list(about.names),
        "params": parameters(detector),
    }
    if as_json:
        print_json(found)
    else:
        console.print(
            f"{output}: {about.model.name}, {graph}, {len(about.names)} classes, {found['params']:,} parameters",
            soft_wrap=True,
            highlight=False,
        )
