"""yolab models: what every model costs, as it is and scaled."""

from dataclasses import astuple
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from yolab.cli.output import JsonOption, console, print_json, print_table, progress_bar
from yolab.errors import UsageError

COLUMNS = ("name", "params", "params_fused", "gflops", "size")
PUBLISHED = ("published_params_millions", "published_gflops", "published_size", "published_graph")
_DEPTHS, _WIDTHS = (0.33, 0.67, 1.0, 1.5, 2.0), (0.25, 0.5, 0.75, 1.0, 1.25)


def models(
    name: Annotated[str | None, typer.Argument(help="One model; default: all.")] = None,
    scale: Annotated[str | None, typer.Option(help="Compound scaling, such as depth=1.5,width=1.25.")] = None,
    classes: Annotated[int, typer.Option(min=1, help="Classes that the head tells apart.")] = 80,
    size: Annotated[int | None, typer.Option(min=1, help="Side of the image in pixels; default: the model's.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the cost over depth and width into this .html file.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """List the models: parameters as trained and as deployed, operations of one image, and what is published of them.

    Example: yolab models yolov7 --scale depth=1.5,width=1.25
    """
    from yolab.experiment import Model
    from yolab.models import zoo
    from yolab.models.blueprint import misplaced_identities

    factors = read_scale(scale or "")
    names = [zoo.find(name).name] if name else list(zoo.BLUEPRINTS)
    if plot:
        if name is None:
            raise UsageError("--plot draws one model: name it, such as yolab models yolov7x-light --plot cost.html.")
        _plot(name, classes, size, plot)
        return
    rows = [describe(Model(name=each, scale=factors), classes, size) for each in names]
    if not scale:
        rows = [row | _published(row["name"]) for row in rows]
    for told in misplaced_identities(zoo.find(name)) if name else ():
        console.print(f"[yellow]note:[/yellow] {escape(told)}", soft_wrap=True, highlight=False)
    if as_json:
        print_json(rows)
    else:
        title = f"{classes} classes" + (f", scaled by {scale}" if scale else "")
        columns = COLUMNS if scale else (*COLUMNS, "published")
        print_table(title, columns, [[_shown(row, column) for column in columns] for row in rows])


def _published(name: str) -> dict[str, Any]:
    """Return PUBLISHED of a model, None for one that nothing is published of."""
    from yolab.models import zoo

    figures = zoo.PUBLISHED.get(name)
    values = astuple(figures) if figures else (None,) * len(PUBLISHED)
    return dict(zip(PUBLISHED, values, strict=True))


def _shown(row: dict[str, Any], column: str) -> Any:
    if column != "published":
        return row[column]
    params, gflops, size, graph = (row[name] for name in PUBLISHED)
    return f"{params} M, {gflops} G at {size} ({graph})" if params else None


def _plot(name: str, classes: int, size: int | None, target: Path) -> None:
    """Count and time a grid of scaled models, on one thread, and draw it."""
    import torch

    from yolab.evaluation.latency import seconds_an_image
    from yolab.experiment import Scale
    from yolab.models import zoo
    from yolab.models.blueprint import deployed, scaled
    from yolab.models.count import cost
    from yolab.models.detector import Detector
    from yolab.models.fold import fold
    from yolab.reports.scaling_figures import ScaledCost, save_scaling

    if target.suffix != ".html":
        raise UsageError(f"--plot writes a page: {target} must end in .html.")
    base = zoo.find(name)
    image_size = size or base.image_size
    torch.set_num_threads(1)
    points = []
    with progress_bar("Measuring") as bar:
        for depth, width in bar.track([(depth, width) for depth in _DEPTHS for width in _WIDTHS]):
            try:
                blueprint = deployed(scaled(base, Scale(depth=depth, width=width)))
            except UsageError:  # a point that can't exist stays empty
                continue
            counted = cost(blueprint, classes, image_size)
            seconds = seconds_an_image(fold(Detector(blueprint, classes)), image_size, repeats=2)
            params = counted.params_fused / 1e6
            points.append(ScaledCost(depth, width, params, counted.gflops, 1000 * seconds))
    save_scaling(name, points, target)
    console.print(f"{target}: {len(points)} models at {image_size} px", soft_wrap=True, highlight=False)


def read_scale(text: str) -> Any:
    """Return the Scale of "depth=1.5,width=1.25". Raises UsageError that says what to write."""
    from yolab.experiment import build

    changes: dict[str, float] = {}
    for part in text.split(",") if text else ():
        factor, _, value = part.partition("=")
        try:
            changes[f"model.scale.{factor.strip()}"] = float(value)
        except ValueError:
            raise UsageError(f"Can't read the scale {text!r}: write factors such as depth=1.5,width=1.25.") from None
    return build({"name": "scaled"}, changes, source="--scale", changed_by="--scale").model.scale


def describe(model: Any, classes: int, size: int | None) -> dict[str, Any]:
    """Return COLUMNS of a model (experiment.Model). Raises UsageError if it can't work at this size."""
    import torch

    from yolab.models.blueprint import check_size
    from yolab.models.count import cost
    from yolab.models.detector import Detector, blueprint_of

    blueprint = blueprint_of(model)
    if size is not None:
        with torch.device("meta"):
            stride = max(Detector(blueprint, classes).strides)
        check_size("--size", size, model.name, stride)
    image_size = size or blueprint.image_size
    counted = cost(blueprint, classes, image_size)
    values = (model.name, counted.params, counted.params_fused, round(counted.gflops, 3), image_size)
    return dict(zip(COLUMNS, values, strict=True))
