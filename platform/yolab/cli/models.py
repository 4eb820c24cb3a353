"""yolab models: what every model costs, as it is and scaled."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolab.cli.output import AsJson, print_table, say, show, terminal
from yolab.jobs import models_job

if TYPE_CHECKING:
    from yolab.jobs.models_job import ModelCost, Models

_COLUMNS = ("name", "params", "params_fused", "gflops", "size")


def models(
    name: Annotated[str | None, typer.Argument(help="One model; default: all.")] = None,
    scale: Annotated[str | None, typer.Option(help="Compound scaling, such as depth=1.5,width=1.25.")] = None,
    classes: Annotated[int, typer.Option(min=1, help="Classes that the head tells apart.")] = 80,
    size: Annotated[int | None, typer.Option(min=1, help="Side of the image in pixels; default: the model's.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the cost over depth and width into this .html file.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the models: parameters as trained and as deployed, operations of one image, and what is published of them.

    Example: yolab models yolov7 --scale depth=1.5,width=1.25
    """
    with terminal() as watcher:
        if plot:
            drawn = models_job.plot(name, plot, scale=scale, classes=classes, size=size, watcher=watcher)
        else:
            listed = models_job.models(name, scale=scale, classes=classes, size=size, watcher=watcher)
    if plot:
        show(drawn, as_json, lambda: say(f"{drawn.plot}: {drawn.models} models at {drawn.size} px"))
    else:
        title = f"{classes} classes" + (f", scaled by {scale}" if scale else "")
        show(listed, as_json, lambda: _draw(title, listed))


def _draw(title: str, listed: "Models") -> None:
    columns = _COLUMNS if listed.is_scaled else (*_COLUMNS, "published")
    print_table(title, columns, [[_shown(each, column) for column in columns] for each in listed.models])


def _shown(model: "ModelCost", column: str) -> Any:
    if column != "published":
        return getattr(model, column)
    figures = model.published
    if figures is None:
        return None
    return f"{figures.params_millions} M, {figures.gflops} G at {figures.image_size} ({figures.graph})"
