"""Pictures of results."""

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from yolab.data.coco import Sample
from yolab.evaluation.detect import ImageDetections

_SMALLEST_SIDE = 480  # pixels; smaller images are enlarged, so that labels stay legible


def save_detections(sample: Sample, found: ImageDetections, names: Sequence[str], target: Path) -> None:
    """Draw the detections of an image with class and score, and save the picture as `target` (PNG or JPEG)."""
    image = cv2.imread(str(sample.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert image is not None, "a sample's image has been decoded before"
    zoom = max(1.0, _SMALLEST_SIDE / min(image.shape[:2]))
    image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist()):
        colour = class_colour(label, len(names))
        left, top, right, bottom = (round(side * zoom) for side in box)
        cv2.rectangle(image, (left, top), (right, bottom), colour, 2)
        text = f"{names[label]} {score:.2f}"
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        base = max(top, height + 4)
        cv2.rectangle(image, (left, base - height - 4), (left + width + 4, base), colour, cv2.FILLED)
        cv2.putText(image, text, (left + 2, base - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.imwrite(str(target), image)


def save_objectness(image: Tensor, heads: Mapping[str, Sequence[Tensor]], strides: Sequence[int], target: Path) -> None:
    """Draw what each head takes for an object, level by level, over the image (paper, Figure 8), and save the picture.

    image (3, rows, columns) RGB in 0..1; for each head, by name, its raw levels (1, anchors, rows, columns, 5 +
    classes). A row for each head, a column for each level: the anchors' largest objectness, bright where it is high.
    """
    photo = cv2.cvtColor((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8), cv2.COLOR_RGB2BGR)
    zoom = max(1.0, _SMALLEST_SIDE / 2 / min(photo.shape[:2]))
    photo = cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    rows = []
    for name, levels in heads.items():
        panels = []
        for level, stride in zip(levels, strides):
            objectness = level[0, ..., 4].sigmoid().amax(0).numpy()
            seen = cv2.resize(objectness, photo.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            heat = cv2.applyColorMap((seen * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
            panel = cv2.addWeighted(photo, 0.35, heat, 0.65, 0)
            text = f"{name}, stride {stride}, largest {objectness.max():.2f}"
            cv2.putText(panel, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
            panels.append(panel)
        rows.append(np.concatenate(panels, 1))
    cv2.imwrite(str(target), np.concatenate(rows, 0))


def class_colour(label: int, classes: int) -> tuple[int, int, int]:
    """Return a bright blue, green, red for a class, as different as possible from the others'."""
    red, green, blue = colorsys.hsv_to_rgb(label / max(1, classes), 0.65, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)
