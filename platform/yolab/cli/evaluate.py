"""yolab evaluate: the COCO metrics of a model on a split."""

import json
from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import JsonOption, console, print_json, print_table, progress_bar


def evaluate(
    weights: Annotated[str, typer.Option(help="A .safetensors or .onnx file, or models:/NAME@ALIAS.")],
    data: Annotated[Path, typer.Option(help="A data set in COCO layout.")],
    split: Annotated[str, typer.Option(help="Which annotations to score against.")] = "val2017",
    classes: Annotated[
        list[str] | None, typer.Option(help="old=new, as in data.classes of the run; as often as wanted.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Long side in pixels; default: as trained.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 16,
    report: Annotated[
        Path | None, typer.Option(help="A folder for pictures of the result, and the detections as Parquet.")
    ] = None,
    submission: Annotated[
        Path | None, typer.Option(help="A JSON file for COCO's test server; the split needs no annotations then.")
    ] = None,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Score a model by the COCO metrics, and look at what it got wrong; or write what a test server scores.

    Example: yolab evaluate --weights runs/bccd/checkpoint/weights.safetensors --data data/bccd --report report
    """
    from yolab.data import coco
    from yolab.data.combined import with_classes
    from yolab.evaluation import detections_file
    from yolab.evaluation.detect import detect
    from yolab.evaluation.metrics import score, to_coco
    from yolab.models.device import choose_device
    from yolab.registry.package import open_weights

    model, about = open_weights(weights, home)
    dataset = with_classes(coco.load(data, split), classes or [])
    dataset.require_names(about.names, weights)
    with progress_bar("Evaluating") as bar:
        task = bar.add_task("", total=None)
        detections = detect(
            model.to(choose_device()),
            dataset.samples,
            size or about.image_size,
            batch,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if submission:
        submission.parent.mkdir(parents=True, exist_ok=True)
        submission.write_text(json.dumps(to_coco(dataset, detections)))
        console.print(f"For the test server: {submission}", soft_wrap=True)
    if not dataset.truth:
        console.print(f"{split} has no annotations, so there is nothing to score against.", soft_wrap=True)
        return
    scores = score(dataset, detections)
    if report:
        from yolab.reports.evaluation_figures import save_report

        save_report(dataset, detections, scores, report)
        detections_file.save(detections, report / detections_file.FILE_NAME)
        console.print(f"Pictures and detections: {report}", soft_wrap=True)
    metrics = scores.metrics
    if as_json:
        by_class = scores.by_class(dataset.names)
        about_it = {"weights": weights, "data": str(data), "split": split, "images": len(dataset.samples)}
        print_json({**about_it, **metrics, **by_class})
    else:
        print_table(f"{weights} on {split}", list(metrics), [list(metrics.values())])
        rows = [[n, float(a), float(b)] for n, a, b in zip(dataset.names, scores.class_ap, scores.class_ap50)]
        print_table("by class", ["class", "ap", "ap50"], rows)
