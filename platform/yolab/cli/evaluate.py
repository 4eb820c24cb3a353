"""yolab evaluate: the COCO metrics of a model on a split."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import JsonOption, print_json, print_table, progress_bar


def evaluate(
    weights: Annotated[str, typer.Option(help="A .safetensors or .onnx file, or models:/NAME@ALIAS.")],
    data: Annotated[Path, typer.Option(help="A data set in COCO layout.")],
    split: Annotated[str, typer.Option(help="Which annotations to score against.")] = "val2017",
    size: Annotated[int | None, typer.Option(help="Long side in pixels; default: as trained.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 16,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Score a model by the COCO metrics.

    Example: yolab evaluate --weights runs/bccd/checkpoint/weights.safetensors --data data/bccd
    """
    from yolab.data import coco
    from yolab.evaluation.detect import detect
    from yolab.evaluation.metrics import coco_metrics
    from yolab.registry.package import open_weights
    from yolab.training.distributed import Workers
    from yolab.training.loop import choose_device

    model, about = open_weights(weights, home)
    dataset = coco.load(data, split)
    dataset.require_names(about.names, weights)
    with progress_bar("Evaluating") as bar:
        task = bar.add_task("", total=None)
        detections = detect(
            model.to(choose_device(Workers())),
            dataset.samples,
            size or about.image_size,
            batch,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    metrics = coco_metrics(dataset, detections)
    if as_json:
        print_json({"weights": weights, "data": str(data), "split": split, "images": len(dataset.samples), **metrics})
    else:
        print_table(f"{weights} on {split}", list(metrics), [list(metrics.values())])
