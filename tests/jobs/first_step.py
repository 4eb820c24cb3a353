"""How long `yolab sweep` takes to the first training step of its trials, on a drawn data set of many small images.

    python tests/jobs/first_step.py draw FOLDER 100000
    XDG_CACHE_HOME=$(mktemp -d) python tests/jobs/first_step.py sweep FOLDER      # nothing is remembered of the data
    python tests/jobs/first_step.py sweep FOLDER                                   # it is

A trial ends after its first step, as failed.
"""

import contextlib
import functools
import importlib
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STARTED = time.time()
SIDE, OBJECTS, VAL_IMAGES = 64, 3, 500


def draw(root: Path, images: int) -> None:
    """Write a data set in COCO layout: grey PNG images, each with a few bright rectangles."""
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train2017", images), ("val2017", VAL_IMAGES)):
        (root / split).mkdir()
        low = random.integers(0, SIDE - 28, (count, OBJECTS, 2))
        sides, labels = random.integers(8, 28, (count, OBJECTS, 2)), random.integers(1, 3, (count, OBJECTS))
        content: dict[str, list[Any]] = {"images": [], "annotations": []}
        content["categories"] = [{"id": 1, "name": "light"}, {"id": 2, "name": "white"}]
        for number in range(count):
            image, name = np.full((SIDE, SIDE, 3), number % 100, np.uint8), f"{number:012d}.png"
            for (x, y), (width, height), label in zip(
                low[number].tolist(), sides[number].tolist(), labels[number].tolist()
            ):
                image[y : y + height, x : x + width] = 100 + 75 * label
                identity = len(content["annotations"]) + 1
                box = {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0}
                corners = [x, y, x + width, y, x + width, y + height, x, y + height]
                described = {"id": identity, "image_id": number, "category_id": label, "segmentation": [corners]}
                content["annotations"].append(described | box)
            cv2.imwrite(str(root / split / name), image)
            content["images"].append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def one_step(*arguments: Any, marks: Path) -> None:
    """Be a trial up to its first step, and write down when that was."""
    from yolab.errors import YolabError
    from yolab.training.loop import train

    began = time.time()

    def stop(*step: int) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        line = {"trial began": began - STARTED, "first step": time.time() - STARTED, "peak MiB": peak}
        with marks.open("a") as file:
            file.write(json.dumps({name: round(value, 2) for name, value in line.items()}) + "\n")
        raise YolabError("One step is enough.")

    train(*arguments, progress=stop)


def sweep(root: Path) -> None:
    """Start a sweep of two trials, one after the other, and print when each began and made its first step, in seconds
    since this process began; the most memory that the trial had taken by then."""
    from yolab.errors import YolabError

    sweep_job = importlib.import_module("yolab.jobs.sweep_job")  # itself, to set something in it

    with tempfile.TemporaryDirectory() as scratch:
        marks, experiment = Path(scratch, "marks"), Path(scratch, "first.yaml")
        space = Path(scratch, "space.yaml")
        experiment.write_text(
            f"name: first\nmodel: {{name: yolov7-tiny, scale: {{width: 0.125, hidden: 0.125}}}}\n"
            f"data: {{path: {root.resolve()}, image_size: {SIDE}}}\n"
            "recipe: {preset: tiny, epochs: 1, batch: 64}\ncompute: {cpus_per_worker: 2, precision: fp32}\n"
        )
        space.write_text("recipe.optimiser.lr: {loguniform: [0.001, 0.1]}\n")
        sweep_job.Trials = functools.partial(sweep_job.Trials, work=functools.partial(one_step, marks=marks))
        with contextlib.suppress(YolabError):
            sweep_job.sweep(experiment, space, trials=2, scheduler="none", storage=Path(scratch, "runs"))
        print(marks.read_text())


if __name__ == "__main__":
    if sys.argv[1] == "draw":
        draw(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        sweep(Path(sys.argv[2]))
