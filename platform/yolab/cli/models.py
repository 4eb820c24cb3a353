"""yolab models: what every model costs, as it is and scaled."""

from typing import Annotated, Any

import typer

from yolab.cli.output import JsonOption, print_json, print_table
from yolab.errors import UsageError

COLUMNS = ("name", "params", "params_fused", "gflops", "size")


def models(
    name: Annotated[str | None, typer.Argument(help="One model; default: all.")] = None,
    scale: Annotated[str | None, typer.Option(help="Compound scaling, such as depth=1.5,width=1.25.")] = None,
    classes: Annotated[int, typer.Option(min=1, help="Classes that the head tells apart.")] = 80,
    size: Annotated[int | None, typer.Option(min=1, help="Side of the image in pixels; default: the model's.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """List the models: parameters as trained and as deployed, and operations of one image.

    Example: yolab models yolov7 --scale depth=1.5,width=1.25
    """
    from yolab.experiment import Model
    from yolab.models import zoo

    factors = read_scale(scale or "")
    names = [zoo.find(name).name] if name else list(zoo.BLUEPRINTS)
    rows = [describe(Model(name=each, scale=factors), classes, size) for each in names]
    if as_json:
        print_json(rows)
    else:
        title = f"{classes} classes" + (f", scaled by {scale}" if scale else "")
        print_table(title, COLUMNS, [[row[column] for column in COLUMNS] for row in rows])


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
    return build({"name": "scaled"}, changes, source="--scale").model.scale


def describe(model: Any, classes: int, size: int | None) -> dict[str, Any]:
    """Return COLUMNS of a model (experiment.Model). Raises UsageError if it can't work at this size."""
    import torch

    from yolab.models.count import cost
    from yolab.models.detector import Detector, blueprint_of

    blueprint = blueprint_of(model)
    image_size = size or blueprint.image_size
    with torch.device("meta"):
        stride = max(Detector(blueprint, classes).strides)
    if image_size % stride:
        raise UsageError(
            f"--size can't be {image_size}: {model.name} needs a multiple of its largest stride, {stride}. "
            f"Take {(image_size // stride + 1) * stride}."
        )
    counted = cost(blueprint, classes, image_size)
    values = (model.name, counted.params, counted.params_fused, round(counted.gflops, 3), image_size)
    return dict(zip(COLUMNS, values, strict=True))
