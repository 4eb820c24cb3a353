"""Pictures of results."""

import colorsys
from collections.abc import Sequence
from pathlib import Path

import cv2

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


def class_colour(label: int, classes: int) -> tuple[int, int, int]:
    """Return a bright blue, green, red for a class, as different as possible from the others'."""
    red, green, blue = colorsys.hsv_to_rgb(label / max(1, classes), 0.65, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)
