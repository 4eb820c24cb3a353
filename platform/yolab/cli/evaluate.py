"""yolab evaluate: the COCO metrics of a model on a split."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from yolab.cli.output import AsJson, DeviceOption, StorageOption, print_table, show, terminal
from yolab.jobs import evaluate_job, weights_source

if TYPE_CHECKING:
    from yolab.jobs.evaluate_job import Evaluation


def evaluate(
    run: Annotated[str | None, typer.Argument(help="A finished run, or SWEEP/TRIAL; or give --weights.")] = None,
    weights: Annotated[str | None, typer.Option(help="A .safetensors or .onnx file, or models:/NAME@ALIAS.")] = None,
    data: Annotated[
        str | None, typer.Option(help="A data set in COCO layout; default: what the run was scored on.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which annotations of --data to score against (val2017).")] = None,
    classes: Annotated[
        list[str] | None, typer.Option(help="old=new, as in data.classes of the run; as often as wanted.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Long side in pixels; default: as trained.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at once; it changes no score.")] = 16,
    padding: Annotated[
        Literal["square", "rectangle"],
        typer.Option(help="Of the short side; rectangles are faster, the published figures were measured with them."),
    ] = "square",
    device: DeviceOption = None,
    report: Annotated[
        Path | None, typer.Option(help="A folder for pictures of the result, and the detections as Parquet.")
    ] = None,
    submission: Annotated[
        Path | None, typer.Option(help="A JSON file for COCO's test server; the split needs no annotations then.")
    ] = None,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Score a model by the COCO metrics, and look at what it got wrong; or write what a test server scores.

    Example: yolab evaluate --weights runs/bccd/weights.safetensors --data data/bccd --report report
    """
    with terminal() as watcher:
        result = evaluate_job.evaluate(
            weights_source.one_of(run, weights),
            data,
            split,
            classes=classes or (),
            size=size,
            batch=batch,
            padding=padding,
            device=device,
            report=report,
            submission=submission,
            storage=storage,
            watcher=watcher,
        )
    show(result, as_json, lambda: _draw(result))


def _draw(result: "Evaluation") -> None:
    if result.metrics:
        print_table(f"{result.weights} on {result.split}", list(result.metrics), [list(result.metrics.values())])
        rows = [[each.name, each.ap, each.ap50] for each in result.classes]
        print_table("by class", ["class", "ap", "ap50"], rows)
