"""Pictures of results."""

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from yolab.data.loader import decoded
from yolab.data.samples import Sample
from yolab.evaluation.detect import ImageDetections

PICTURES = (".jpg", ".jpeg", ".png")  # the endings of what is saved
_SMALLEST_SIDE = 480  # pixels; smaller images are enlarged, so that labels stay legible,
_LARGEST_SIDE = 1920  # but for it none becomes larger than this


def save_detections(sample: Sample, found: ImageDetections, names: Sequence[str], target: Path) -> None:
    """Draw the detections of an image with class and score, and save the picture as `target` (PNG or JPEG)."""
    _save(_with_detections(decoded(sample), found, names), target)


def save_sheet(pictures: Sequence[np.ndarray], columns: int, target: Path) -> None:
    """Save pictures (rows, columns, 3) BGR as one, row by row, each fitted into a square of the same size."""
    tiles = []
    for picture in pictures:
        zoom = _SMALLEST_SIDE / max(picture.shape[:2])
        sides = [max(1, round(zoom * side)) for side in picture.shape[1::-1]]
        fitted = cv2.resize(picture, sides, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
        tile = np.full((_SMALLEST_SIDE, _SMALLEST_SIDE, 3), 255, np.uint8)
        tile[: fitted.shape[0], : fitted.shape[1]] = fitted
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], 1) for start in range(0, len(tiles), columns)]
    _save(np.concatenate(rows), target)


def _save(picture: np.ndarray, target: Path) -> None:
    """Write a picture; `cv2.imwrite` would keep silent where it can't."""
    target.write_bytes(cv2.imencode(target.suffix, picture)[1].tobytes())


def there_and_found(sample: Sample, founds: Sequence[ImageDetections], names: Sequence[str]) -> np.ndarray:
    """Return an image several times, side by side: with the objects that are there, and with those that each found."""
    image = decoded(sample)
    there = boxed(image, sample.boxes, sample.classes, [names[label] for label in sample.classes], len(names))
    seen = [_with_detections(image, found, names) for found in founds]
    return np.concatenate([there, *seen], 0 if image.shape[1] > image.shape[0] else 1)


def _with_detections(image: np.ndarray, found: ImageDetections, names: Sequence[str]) -> np.ndarray:
    texts = [f"{names[label]} {score:.2f}" for label, score in zip(found.classes.tolist(), found.scores.tolist())]
    return boxed(image, found.boxes.numpy(), found.classes.numpy(), texts, len(names))


def boxed(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, texts: Sequence[str], classes: int) -> np.ndarray:
    """Return the image, enlarged where it is small, with boxes (n, 4) x1 y1 x2 y2 in its pixels, each with a text."""
    zoom = max(1.0, min(_SMALLEST_SIDE / min(image.shape[:2]), _LARGEST_SIDE / max(image.shape[:2])))
    image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    for box, label, text in zip(boxes.tolist(), labels.tolist(), texts):
        colour = class_colour(label, classes)
        left, top, right, bottom = (round(side * zoom) for side in box)
        cv2.rectangle(image, (left, top), (right, bottom), colour, 2)
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        base = max(top, height + 4)
        cv2.rectangle(image, (left, base - height - 4), (left + width + 4, base), colour, cv2.FILLED)
        cv2.putText(image, text, (left + 2, base - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return image


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
    _save(np.concatenate(rows, 0), target)


def class_colour(label: int, classes: int) -> tuple[int, int, int]:
    """Return a bright blue, green, red for a class, as different as possible from the others'."""
    red, green, blue = colorsys.hsv_to_rgb(label / max(1, classes), 0.65, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)
