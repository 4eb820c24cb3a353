"""yolab bench: how fast the parts are on this machine."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from yolab.cli.output import JsonOption, console, print_json, print_table
from yolab.errors import UsageError

NAMES = ("inference",)


def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}.")],
    model: Annotated[str, typer.Option(help="The model to measure.")] = "yolov7-tiny",
    sizes: Annotated[list[int] | None, typer.Option("--size", help="Side of the image; default: 320 and 640.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Measure a part. inference: a folded model on one image, without suppression, by torch and by onnxruntime.

    Example: yolab bench inference --model yolov7-tiny --size 320 --json
    """
    import torch

    if name not in NAMES:
        raise UsageError(f"There is no benchmark {name}: take one of {', '.join(NAMES)}.")
    torch.set_num_threads(threads)
    with console.status(f"Measuring {model} …"):
        rows = _inference(model, sizes or [320, 640])
    if as_json:
        print_json(rows)
    else:
        columns = list(rows[0])
        print_table(f"{name}, {threads} threads", columns, [list(row.values()) for row in rows])


def _inference(name: str, sizes: list[int]) -> list[dict[str, Any]]:
    from yolab.evaluation.latency import seconds_an_image
    from yolab.experiment import Model
    from yolab.models import onnx_file
    from yolab.models.blueprint import check_size
    from yolab.models.fold import fold
    from yolab.models.weights import Description

    about = Description(Model(name=name), tuple(f"class {number}" for number in range(80)), 640)
    trained = about.build()
    folded = fold(trained)
    for size in sizes:
        check_size("--size", size, name, max(folded.strides))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        onnx_file.export(trained, about, file, {}, nms=False)
        models: dict[str, Any] = {"torch": folded, "onnxruntime": onnx_file.OnnxDetector(file)}
        return [
            {"name": "inference", "model": name, "size": size, "with": runtime, "seconds": seconds_an_image(each, size)}
            for size in sizes
            for runtime, each in models.items()
        ]
