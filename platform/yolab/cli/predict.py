"""yolab predict: detect objects in images and draw them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yolab.cli.output import JsonOption, console, print_json, progress_bar

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    weights: Annotated[str, typer.Option(help="A .safetensors or .onnx file, or models:/NAME@ALIAS.")],
    output: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("runs/predictions"),
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Leave out detections that score less.")] = 0.25,
    iou: Annotated[float, typer.Option(min=0, max=1, help="Overlap above which the weaker of a class goes.")] = 0.45,
    size: Annotated[int | None, typer.Option(help="Long side in pixels; default: as trained.")] = None,
    objectness: Annotated[bool, typer.Option("--objectness", help="Also draw where each head sees objects.")] = False,
    most: Annotated[int | None, typer.Option(min=1, help="Look at so many images of those given.")] = None,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Detect objects in images and save pictures with the boxes drawn.

    Example: yolab predict photos/ --weights models:/demo-detector@champion --output out/
    """
    from yolab.data import coco
    from yolab.errors import UsageError
    from yolab.evaluation.detect import detect
    from yolab.models.device import choose_device
    from yolab.registry.package import open_weights
    from yolab.reports.drawing import save_detections

    if objectness and weights.endswith(".onnx"):
        raise UsageError("--objectness looks inside the model: give the weights that the .onnx file was made of.")
    samples = coco.unlabelled(_files(images)[:most])
    model, about = open_weights(weights, home)
    with progress_bar("Detecting") as bar:
        task = bar.add_task("", total=None)
        detections = detect(
            model.to(choose_device()),
            samples,
            size or about.image_size,
            batch=8,
            confidence=confidence,
            iou=iou,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    output.mkdir(parents=True, exist_ok=True)
    results = []
    for found in sorted(detections, key=lambda found: found.image_id):
        sample = samples[found.image_id]
        again = any(other.path.stem == sample.path.stem for other in samples[: found.image_id])
        picture = output / f"{sample.path.stem}{f'-{found.image_id}' if again else ''}.png"
        save_detections(sample, found, about.names, picture)
        objects = [
            {"class": about.names[label], "score": round(score, 4), "box": [round(side, 1) for side in box]}
            for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist())
        ]
        results.append({"image": str(sample.path), "picture": str(picture), "objects": objects})
        if objectness:
            results[-1]["objectness"] = str(_draw_objectness(model, sample, size or about.image_size, picture))
        console.print(f"{picture}: {len(objects)} objects", soft_wrap=True, highlight=False)
    if as_json:
        print_json(results)


def _draw_objectness(model: Any, sample: Any, size: int, picture: Path) -> Path:
    """Save the maps of the lead head, and of the auxiliary one if the graph has it, beside the picture."""
    import torch

    from yolab.data.loader import EvaluationBatches
    from yolab.reports.drawing import save_objectness

    images = EvaluationBatches([sample], size, 1, max(model.strides))[0].images.float() / 255
    with torch.no_grad():
        levels = [level.float().cpu() for level in model.with_auxiliary(images.to(model.device))]
    count = len(model.strides)
    heads = {"lead": levels[:count]} | ({"auxiliary": levels[count:]} if levels[count:] else {})
    target = picture.with_name(f"{picture.stem}-objectness.png")
    save_objectness(images[0], heads, model.strides, target)
    return target


def _files(images: list[Path]) -> list[Path]:
    from yolab.errors import UsageError

    found: list[Path] = []
    for path in images:
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if p.suffix.lower() in _IMAGES)
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} doesn't exist: give image files, or folders of them.")
    if not found:
        raise UsageError(f"There is no image in {', '.join(map(str, images))}.")
    return found
