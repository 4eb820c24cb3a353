"""yolab export: a detector as an ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import AsJson, StorageOption, say, show, terminal
from yolab.jobs import export_job


def export(
    output: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    weights: Annotated[str, typer.Option(help="A .safetensors file, or models:/NAME@ALIAS of the registry.")],
    nms: Annotated[bool, typer.Option("--nms", help="Suppress overlapping boxes in the graph, too.")] = False,
    opset: Annotated[int, typer.Option(help="The version of ONNX's operators, 18 to 24.")] = 20,
    half: Annotated[bool, typer.Option("--half", help="Weights and convolutions in float16: half the size.")] = False,
    static: Annotated[
        bool, typer.Option("--static", help="For one image at a time, a square of the size as trained.")
    ] = False,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Fold a detector, write it as ONNX for any batch and size, and check onnxruntime's answers against torch's.

    Example: yolab export detector.onnx --weights models:/demo-detector@champion --nms
    """
    with terminal() as watcher:
        result = export_job.export(
            output, weights, nms=nms, opset=opset, half=half, static=static, storage=storage, watcher=watcher
        )
    size, difference = f"{result.megabytes:.1f} MB", f"within {result.relative_difference:.0e} of torch's answers"
    show(result, as_json, lambda: say(f"{result.onnx}: {result.model}, {size}, {difference}"))
