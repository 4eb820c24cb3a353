"""Drawing labelled images into one: each is decoded no larger than it will be drawn, and drawn once, straight into the
result; one that will not be seen is never decoded.

Images are (rows, columns, 3) uint8 BGR; boxes (objects, 4) float32, x1 y1 x2 y2 in pixels, counted from the image's
edge (the first pixel's middle is at 0.5), and tight where objects have outlines.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from yolab.data.outlines import Outlines, visible

GREY = 114
_LEAST_SHARE = 0.1  # of an object's area; where less is left, it is no longer one
_LEAST_SHARE_TRACED = 0.01  # where an outline says what is left
Part = tuple[int, int, int, int]  # left, top, right, bottom


class Place(NamedTuple):
    """Where an image lies on a canvas, and the cell of the canvas beyond which it isn't seen, in pixels."""

    left: int
    top: int
    cell: Part


@dataclass(frozen=True)
class Labels:
    """An image's size, once its long side is what the model takes, and its objects in it."""

    rows: int
    columns: int
    boxes: np.ndarray
    classes: np.ndarray
    outlines: Outlines | None = None


@dataclass(frozen=True)
class LabelledImage:
    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


class Source(Protocol):
    """The images that a sample is made of."""

    def __len__(self) -> int: ...

    def labels(self, index: int) -> Labels: ...

    def pixels(self, index: int, scale: float) -> np.ndarray:
        """Return the image at any resolution that is not below `scale` times the size that `labels` gives, or the
        file's own where that is less."""


def draw(
    source: Source, indices: Sequence[int], places: Sequence[Place], size: int, matrix: np.ndarray
) -> LabelledImage:
    """Return a `size`×`size` image of what lies on a grey canvas, seen through `matrix`, and its objects."""
    image = np.full((size, size, 3), GREY, dtype=np.uint8)
    boxes, classes = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.int64)]
    upright = not (matrix[0, 1] or matrix[1, 0] or matrix[2, 0] or matrix[2, 1])
    for index, (x, y, (left, top, right, bottom)) in zip(indices, places):
        labels = source.labels(index)
        part = max(left - x, 0), max(top - y, 0), min(labels.columns, right - x), min(labels.rows, bottom - y)
        if part[0] < part[2] and part[1] < part[3]:
            draw_part = _resize_part if upright else warp_part
            used = draw_part(image, source, index, labels, part, matrix @ shift(x, y))
            cut = np.clip(labels.boxes, part[:2] * 2, part[2:] * 2)
            left_over = area(cut) > _LEAST_SHARE * area(labels.boxes)
            drawn = _bounds(cut, used)
            if labels.outlines is not None:
                traced, seen = _traced(labels, labels.outlines, part, used, size)
                left_over = np.where(traced, ~np.isnan(seen[:, 0]), left_over)
                drawn = np.where(traced[:, None], seen, drawn).astype(np.float32)
            boxes.append(drawn[left_over])
            classes.append(labels.classes[left_over])
    return _without_remnants(LabelledImage(image, np.concatenate(boxes), np.concatenate(classes)), size)


def _traced(
    labels: Labels, outlines: Outlines, part: Part, matrix: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (objects,) which have an outline, and (objects, 4) the boxes around what is seen of it in a `size`×`size`
    image through `matrix`; NaN where that is too little."""
    square = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    shown = moved(_corners(part), matrix).astype(np.float32)
    _, window = cv2.intersectConvexConvex(shown, square)
    traced = np.zeros(len(labels.boxes), bool)
    traced[outlines.owners] = True
    if window is None:
        return traced, np.full((len(labels.boxes), 4), np.nan)
    as_seen = replace(outlines, points=moved(outlines.points, matrix))
    seen, whole = visible(as_seen, len(labels.boxes), window[:, 0].astype(np.float64))
    seen[~(area(seen) > _LEAST_SHARE_TRACED * area(whole))] = np.nan
    return traced, seen


def _resize_part(
    image: np.ndarray, source: Source, index: int, labels: Labels, part: Part, matrix: np.ndarray
) -> np.ndarray:
    """Draw a part of an image through a matrix that neither turns nor tilts. Whole pixels become whole pixels, a third
    of the time of a warp; return the matrix that comes of it."""
    size = image.shape[0]
    axes = [  # columns, rows
        (part[0], part[2], float(matrix[0, 0]), float(matrix[0, 2]), labels.columns),
        (part[1], part[3], float(matrix[1, 1]), float(matrix[1, 2]), labels.rows),
    ]
    if any(
        scale * last + offset < 0.5 or scale * first + offset > size - 0.5 for first, last, scale, offset, _ in axes
    ):
        return matrix
    pixels = source.pixels(index, max(axes[0][2], axes[1][2]))
    cuts = []
    for (first, last, scale, offset, side), there in zip(axes, pixels.shape[1::-1]):
        resized = there / side
        begin = math.floor(max(first, -offset / scale) * resized)
        end = math.ceil(min(last, (size - offset) / scale) * resized)
        start = round(begin / resized * scale + offset)
        extent = max(1, round(end / resized * scale + offset) - start)
        cuts.append((begin, end, start, extent, resized))
    (left, right, x, width, columns), (top, bottom, y, height, rows) = cuts
    drawn = cv2.resize(pixels[top:bottom, left:right], (width, height), interpolation=cv2.INTER_LINEAR)
    shown = drawn[max(0, -y) : size - y, max(0, -x) : size - x]
    image[max(0, y) : y + height, max(0, x) : x + width] = shown
    scale_x, scale_y = width / (right - left), height / (bottom - top)
    return np.array([[scale_x * columns, 0, x - left * scale_x], [0, scale_y * rows, y - top * scale_y], [0, 0, 1]])


def warp_part(
    image: np.ndarray,
    source: Source,
    index: int,
    labels: Labels,
    part: Part,
    matrix: np.ndarray,
    polygons: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Draw a part of an image, or what `polygons` enclose of it, through any matrix, and return that."""
    left, top, right, bottom = part
    outline = moved(_corners(part), matrix)
    low = np.ceil(outline.min(0) - 0.5).clip(0, image.shape[0]).astype(int)  # pixels whose middle is inside
    high = np.ceil(outline.max(0) - 0.5).clip(0, image.shape[0]).astype(int)
    if (low >= high).any():
        return matrix
    affine = not matrix[2, :2].any()
    pixels = source.pixels(index, float(np.linalg.norm(matrix[:2, :2], 2)) if affine else math.inf)
    columns, rows = pixels.shape[1] / labels.columns, pixels.shape[0] / labels.rows
    begin = math.floor(left * columns), math.floor(top * rows)
    cut = pixels[begin[1] : math.ceil(bottom * rows), begin[0] : math.ceil(right * columns)]
    # OpenCV counts from the first pixel's middle
    to_labels = np.diag([1 / columns, 1 / rows, 1.0]) @ shift(begin[0] + 0.5, begin[1] + 0.5)
    whole = shift(*(-low - 0.5)) @ matrix @ to_labels
    drawn = cv2.warpPerspective(cut, whole, tuple((high - low).tolist()), borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(drawn.shape[:2], dtype=np.uint8)
    shapes = [moved(polygon, matrix) for polygon in polygons] or [outline]
    cv2.fillPoly(mask, [np.rint(shape - low - 0.5).astype(np.int32) for shape in shapes], 255)
    cv2.copyTo(drawn, mask, image[low[1] : high[1], low[0] : high[0]])
    return matrix


def _corners(part: Part) -> np.ndarray:
    left, top, right, bottom = part
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return points (…, 2) through a (3, 3) matrix."""
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    return homogeneous[..., :2] / homogeneous[..., 2:]


def area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _bounds(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the upright boxes around boxes seen through a matrix."""
    if not matrix[0, 1] and not matrix[1, 0] and not matrix[2, :2].any():
        return (boxes * matrix.diagonal()[[0, 1, 0, 1]] + matrix[[0, 1, 0, 1], 2]).astype(np.float32)
    corners = moved(boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]].astype(np.float64), matrix)
    return np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)


def pad_to(image: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, int, int]:
    """Return the image in the middle of a grey (rows, columns) one, and the left and top margin in pixels."""
    top, left = (rows - image.shape[0]) // 2, (columns - image.shape[1]) // 2
    padded = np.full((rows, columns, 3), GREY, dtype=np.uint8)
    padded[top : top + image.shape[0], left : left + image.shape[1]] = image
    return padded, left, top


def _without_remnants(sample: LabelledImage, size: int) -> LabelledImage:
    """Clip boxes to the image and drop those of which too little is left: sides over 2 px, aspect under 20, more than
    a tenth of the area."""
    boxes = sample.boxes.clip(0, size)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    aspect = np.maximum(width / (height + 1e-9), height / (width + 1e-9))
    kept = (width > 2) & (height > 2) & (aspect < 20) & (width * height > _LEAST_SHARE * area(sample.boxes))
    return LabelledImage(sample.image, boxes[kept], sample.classes[kept])
