"""yolab predict: detect objects in images and draw them."""

from pathlib import Path
from typing import Annotated

import typer

from yolab.cli.output import AsJson, DeviceOption, StorageOption, show, terminal
from yolab.jobs import predict_job, weights_source


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="[RUN] IMAGES...",
            help="Image files, or folders of them; without --weights after a finished run, or SWEEP/TRIAL.",
        ),
    ],
    weights: Annotated[str | None, typer.Option(help="A .safetensors or .onnx file, or models:/NAME@ALIAS.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Where the pictures go; default: a new folder predictions in the storage."),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out detections that score less; default: 0.25.")
    ] = None,
    iou: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Overlap above which the weaker of a class goes; default: as in evaluate."),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Long side in pixels; default: as trained.")] = None,
    objectness: Annotated[bool, typer.Option("--objectness", help="Also draw where each head sees objects.")] = False,
    most: Annotated[int | None, typer.Option(min=1, help="Look at so many images of those given.")] = None,
    device: DeviceOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace pictures that are there; never the images themselves.")
    ] = False,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Detect objects in images and save pictures with the boxes drawn.

    Example: yolab predict photos/ --weights models:/demo-detector@champion --output out/
    """
    run, images = (None, images) if weights else (str(images[0]), images[1:])
    with terminal() as watcher:
        result = predict_job.predict(
            images,
            weights_source.one_of(run, weights),
            output=output,
            confidence=confidence,
            iou=iou,
            size=size,
            objectness=objectness,
            most=most,
            overwrite=overwrite,
            device=device,
            storage=storage,
            watcher=watcher,
        )
    show(result, as_json, lambda: None)  # the watcher has told of each picture
