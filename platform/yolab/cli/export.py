"""yolab export: a detector as an ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import JsonOption, console, print_json


def export(
    output: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    weights: Annotated[str, typer.Option(help="A .safetensors file, or models:/NAME@ALIAS of the registry.")],
    nms: Annotated[bool, typer.Option("--nms", help="Suppress overlapping boxes in the graph, too.")] = False,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Fold a detector, write it as ONNX for any batch and size, and check onnxruntime's answers against torch's.

    Example: yolab export detector.onnx --weights models:/demo-detector@champion --nms
    """
    from yolab.errors import UsageError
    from yolab.models import onnx_file
    from yolab.models.detector import Detector
    from yolab.registry.package import lineage_of, open_weights

    if output.suffix != ".onnx":
        raise UsageError(f"{output} must end in .onnx.")
    detector, about = open_weights(weights, home)
    if not isinstance(detector, Detector):
        raise UsageError(f"{weights} is an ONNX file already: give the weights that it was made of.")
    with console.status("Exporting …"):
        difference = onnx_file.export(detector, about, output, lineage_of(weights, home), nms)
    if as_json:
        document = {"onnx": str(output), "model": about.model.name, "nms": nms, "relative_difference": difference}
        print_json(document | {"stride": max(detector.strides), "image_size": about.image_size})
    else:
        size = output.stat().st_size / 1e6
        told = f"{output}: {about.model.name}, {size:.1f} MB, within {difference:.0e} of torch's answers"
        console.print(told, soft_wrap=True, highlight=False)
