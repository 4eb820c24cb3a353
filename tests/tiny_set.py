"""A data set small enough to train on in a test: bright rectangles and discs on grey."""

import json
from pathlib import Path

import cv2
import numpy as np

SIDE = 64


def write(root: Path, images: dict[str, int]) -> Path:
    """Write a set in COCO layout with so many images for each split; return its folder."""
    random = np.random.default_rng(0)
    for split, count in images.items():
        (root / split).mkdir(parents=True)
        content: dict = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 1, "name": "box"}, {"id": 2, "name": "disc"}],
        }
        for number in range(1, count + 1):
            image = random.integers(90, 120, (SIDE, SIDE, 3)).astype(np.uint8)
            for _ in range(2):
                side, label = int(random.integers(16, 28)), int(random.integers(1, 3))
                left, top = (int(v) for v in random.integers(0, SIDE - side, 2))
                if label == 1:
                    cv2.rectangle(image, (left, top), (left + side - 1, top + side - 1), (240, 240, 240), cv2.FILLED)
                else:
                    cv2.circle(image, (left + side // 2, top + side // 2), side // 2, (20, 20, 20), cv2.FILLED)
                annotation = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": label}
                box = {"bbox": [left, top, side, side], "area": side * side, "iscrowd": 0}
                content["annotations"].append(annotation | box)
            cv2.imwrite(str(root / split / f"{number:03d}.png"), image)
            content["images"].append({"id": number, "file_name": f"{number:03d}.png", "width": SIDE, "height": SIDE})
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def experiment(root: Path, **changes: object) -> dict[str, object]:
    """Return the values of an experiment that trains a very small yolov7-tiny on the set, by dotted path."""
    return {
        "name": "tiny",
        "model.name": "yolov7-tiny",
        "model.scale.width": 0.125,
        "model.scale.hidden": 0.125,
        "data.path": str(root),
        "data.image_size": SIDE,
        "recipe.preset": "tiny",
        "recipe.epochs": 3,
        "recipe.batch": 8,
        "compute.precision": "fp32",
        **{path.replace("__", "."): value for path, value in changes.items()},
    }
