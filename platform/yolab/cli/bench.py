"""yolab bench: how fast the parts are on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import AsJson, print_table, show, terminal
from yolab.jobs import bench_job


def bench(
    name: Annotated[
        str,
        typer.Argument(help="assignment, step, shards, workers, loader, nms, metrics, comparison, inference or trial."),
    ],
    model: Annotated[str | None, typer.Option(help="Of inference: the model (yolov7-tiny).")] = None,
    size: Annotated[list[int] | None, typer.Option(help="Of inference: side of the image (320 and 640).")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Of loader: a data set in COCO layout, best with JPEGs (data/demo).")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of loader: its split (train2017).")] = None,
    images: Annotated[
        int | None, typer.Option(min=2, help="Of comparison: how many, with 100 detections each (5000).")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=8, help="Of trial: how many, without any learning (24).")] = None,
    workers: Annotated[int | None, typer.Option(min=2, help="Of workers: how many processes (2).")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure a part, alone and with one thread.

    Example: yolab bench step --json
    """
    with terminal() as watcher:
        result = bench_job.bench(
            name,
            model=model,
            size=size,
            data=data,
            split=split,
            images=images,
            trials=trials,
            workers=workers,
            threads=threads,
            watcher=watcher,
        )
    columns = list(result.rows[0])
    title = f"{name}, threads: {threads}"
    show(result, as_json, lambda: print_table(title, columns, [list(row.values()) for row in result.rows]))
