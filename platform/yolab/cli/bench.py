"""yolab bench: how fast the parts are on this machine."""

import contextlib
import io
from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import JsonOption, console, print_json, print_table
from yolab.errors import UsageError

NAMES = ("assignment", "step", "loader", "nms", "metrics", "comparison", "inference", "trial")


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    model: Annotated[str, typer.Option(help="Of inference: the model.")] = "yolov7-tiny",
    sizes: Annotated[
        list[int] | None, typer.Option("--size", help="Of inference: side of the image; default: 320 and 640.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Of loader: a data set in COCO layout, best with JPEGs.")] = Path(
        "data/demo"
    ),
    split: Annotated[str, typer.Option(help="Of loader: its split.")] = "train2017",
    images: Annotated[int, typer.Option(min=2, help="Of comparison: how many, with 100 detections each.")] = 5000,
    trials: Annotated[int, typer.Option(min=8, help="Of trial: how many, without any learning.")] = 24,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Measure a part, alone and with one thread.

    Example: yolab bench step --json
    """
    import cv2
    import torch

    from yolab.cli import benchmarks

    if name not in NAMES:
        raise UsageError(f"There is no benchmark {name}: take one of {', '.join(NAMES)}.")
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    work = {
        "assignment": benchmarks.assignment,
        "step": benchmarks.step,
        "loader": lambda: benchmarks.loader(data, split),
        "nms": benchmarks.nms,
        "metrics": benchmarks.coco_metrics,
        "comparison": lambda: benchmarks.comparison(images),
        "trial": lambda: benchmarks.trial(trials),
        "inference": lambda: benchmarks.inference(model, sizes or [320, 640]),
    }
    with console.status(f"Measuring {name} …"), contextlib.redirect_stdout(io.StringIO()):
        rows = [{"name": name, **row} for row in work[name]()]
    if as_json:
        print_json(rows)
    else:
        print_table(f"{name}, threads: {threads}", list(rows[0]), [list(row.values()) for row in rows])
