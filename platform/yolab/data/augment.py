"""Augmentation of training images: mosaic, affine or perspective, mixup, colour, paste-in, flips, in that order; boxes
follow exactly, and tightly where objects have outlines.

Where everything goes is decided first. Then each image is decoded no larger than it will be drawn, and drawn once,
straight into the result; one that will not be seen is never decoded. Images are (rows, columns, 3) uint8 BGR; boxes
(objects, 4) float32, x1 y1 x2 y2 in pixels, counted from the image's edge (the first pixel's middle is at 0.5). Every
random choice comes from the generator that is passed in, which the loader derives from (seed, epoch, index of the
sample).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from yolab.data.outlines import Outlines, visible
from yolab.experiment import Augment

GREY = 114
_LEAST_SHARE = 0.1  # of an object's area; where less is left, it is no longer one
_LEAST_SHARE_TRACED = 0.01  # where an outline says what is left
# paste-in, as the published code has it: the slots' largest sides as shares of the image's, how often one is used, the
# sides that a slot and an object in it must exceed
_SLOTS = (0.75,) * 2 + (0.5,) * 4 + (0.25,) * 4 + (0.125,) * 4 + (0.0625,) * 6
_SLOT_USED, _SLOT_PX, _PASTED_PX = 0.8, 20, 10
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


def augmented(index: int, source: Source, size: int, augment: Augment, random: np.random.Generator) -> LabelledImage:
    """Return the sample `index`, augmented, as a `size`×`size` image."""
    if random.random() < augment.mosaic:
        result = _mosaic(index, source, size, augment, random)
        if random.random() < augment.mixup:
            other = _mosaic(int(random.integers(len(source))), source, size, augment, random)
            result = mixup(result, other, random.beta(8, 8))
    else:
        labels = source.labels(index)
        middle = Place((size - labels.columns) // 2, (size - labels.rows) // 2, (0, 0, size, size))
        result = draw(source, [index], [middle], size, random_matrix(size, size, augment, random))
    image = shift_colours(result.image, augment, random)
    result = LabelledImage(image, result.boxes, result.classes)
    mirrored, upside_down = random.random() < augment.flip, random.random() < augment.vertical_flip
    if random.random() < augment.paste_in:
        result = paste_in(result, source, random)
    if mirrored:
        result = flip(result)
    return flip(result, vertically=True) if upside_down else result


def _mosaic(index: int, source: Source, size: int, augment: Augment, random: np.random.Generator) -> LabelledImage:
    nine = random.random() < augment.mosaic9
    indices = [index, *(int(other) for other in random.integers(len(source), size=8 if nine else 3))]
    place = mosaic9 if nine else mosaic4
    places = place([source.labels(i) for i in indices], size, random)
    return draw(source, indices, places, size, random_matrix(2 * size, size, augment, random))


def mosaic4(tiles: Sequence[Labels], size: int, random: np.random.Generator) -> list[Place]:
    """Return where four images lie around a random centre of a canvas of twice `size`."""
    centre_x, centre_y = (int(c) for c in random.uniform(size / 2, 3 * size / 2, 2))
    canvas = (0, 0, 2 * size, 2 * size)
    return [
        Place(
            centre_x if place % 2 else centre_x - tile.columns, centre_y if place > 1 else centre_y - tile.rows, canvas
        )
        for place, tile in enumerate(tiles)
    ]


def mosaic9(tiles: Sequence[Labels], size: int, random: np.random.Generator) -> list[Place]:
    """Return where nine images lie, the first in the middle and the others around it, in a random crop of twice `size`
    out of a canvas of three times `size`. One that is wider or higher than the middle is cut where its neighbour
    begins, so that none hides another's objects."""
    offset_x, offset_y = (int(o) for o in random.uniform(0, size, 2))
    left, top = size - offset_x, size - offset_y
    right, bottom = left + tiles[0].columns, top + tiles[0].rows
    columns = {-1: (0, left), 0: (left, right), 1: (right, 2 * size)}
    rows = {-1: (0, top), 0: (top, bottom), 1: (bottom, 2 * size)}
    places = []
    # the middle, then clockwise from above it
    around = ((0, 0), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1))
    for tile, (horizontal, vertical) in zip(tiles, around):
        (x, x_end), (y, y_end) = columns[horizontal], rows[vertical]
        cell = max(0, x), max(0, y), min(2 * size, x_end), min(2 * size, y_end)
        places.append(
            Place(x_end - tile.columns if horizontal < 0 else x, y_end - tile.rows if vertical < 0 else y, cell)
        )
    return places


def random_matrix(canvas: int, size: int, augment: Augment, random: np.random.Generator) -> np.ndarray:
    """Return the (3, 3) matrix from a square canvas to the result: perspective, rotation, scale and shear about the
    canvas's middle, which moves to a random place near the middle of a `size` square."""
    scale = random.uniform(1 - augment.scale, 1.1 + augment.scale) if augment.scale else 1.0
    move_x, move_y = random.uniform(0.5 - augment.translate, 0.5 + augment.translate, 2) * size
    tilt_x, tilt_y = random.uniform(-1, 1, 2) * augment.perspective
    angle = np.deg2rad(random.uniform(-1, 1) * augment.rotate)
    shear_x, shear_y = np.tan(np.deg2rad(random.uniform(-1, 1, 2) * augment.shear))
    perspective = np.array([[1, 0, 0], [0, 1, 0], [tilt_x, tilt_y, 1]])
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    rotation = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    shear = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]])
    return _shift(move_x, move_y) @ shear @ rotation @ perspective @ _shift(-canvas / 2, -canvas / 2)


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
            draw_part = _resize_part if upright else _warp_part
            used = draw_part(image, source, index, labels, part, matrix @ _shift(x, y))
            cut = np.clip(labels.boxes, part[:2] * 2, part[2:] * 2)
            left_over = _area(cut) > _LEAST_SHARE * _area(labels.boxes)
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
    shown = _moved(_corners(part), matrix).astype(np.float32)
    _, window = cv2.intersectConvexConvex(shown, square)
    traced = np.zeros(len(labels.boxes), bool)
    traced[outlines.owners] = True
    if window is None:
        return traced, np.full((len(labels.boxes), 4), np.nan)
    moved = replace(outlines, points=_moved(outlines.points, matrix))
    seen, whole = visible(moved, len(labels.boxes), window[:, 0].astype(np.float64))
    seen[~(_area(seen) > _LEAST_SHARE_TRACED * _area(whole))] = np.nan
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


def _warp_part(
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
    outline = _moved(_corners(part), matrix)
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
    to_labels = np.diag([1 / columns, 1 / rows, 1.0]) @ _shift(begin[0] + 0.5, begin[1] + 0.5)
    whole = _shift(*(-low - 0.5)) @ matrix @ to_labels
    drawn = cv2.warpPerspective(cut, whole, tuple((high - low).tolist()), borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(drawn.shape[:2], dtype=np.uint8)
    shapes = [_moved(polygon, matrix) for polygon in polygons] or [outline]
    cv2.fillPoly(mask, [np.rint(shape - low - 0.5).astype(np.int32) for shape in shapes], 255)
    cv2.copyTo(drawn, mask, image[low[1] : high[1], low[0] : high[0]])
    return matrix


def paste_in(sample: LabelledImage, source: Source, random: np.random.Generator) -> LabelledImage:
    """Return the sample with objects of up to four other images, cut out along their outlines, in slots of falling
    size that cover less than 30 % of any box."""
    image, size = sample.image.copy(), sample.image.shape[0]
    boxes, classes = sample.boxes, sample.classes
    others = [int(other) for other in random.integers(len(source), size=4)]
    objects = [(i, int(n)) for i in others if (o := source.labels(i).outlines) is not None for n in np.unique(o.owners)]
    for share in _SLOTS if objects else ():
        if random.random() >= _SLOT_USED:
            continue
        slot = np.array([random.integers(1, int(size * share) + 1), random.integers(1, int(size * share) + 1)])
        low = (random.integers(0, size + 1, 2) - slot // 2).clip(0, size)
        room = np.minimum(low + slot, size) - low
        index, number = objects[random.integers(len(objects))]
        labels = source.labels(index)
        assert labels.outlines is not None
        polygons = labels.outlines.of(number)
        points = np.concatenate(polygons)
        left, top = np.floor(points.min(0)).clip(0).astype(int)
        right, bottom = np.minimum(np.ceil(points.max(0)), [labels.columns, labels.rows]).astype(int)
        if right <= left or bottom <= top:
            continue
        extent = np.array([right - left, bottom - top])
        scale = (room / extent).min()
        matrix = _shift(*low) @ np.diag([scale, scale, 1]) @ _shift(-left, -top)
        around = _moved(points, matrix)
        box = np.concatenate([around.min(0), around.max(0)]).clip(0, size).astype(np.float32)
        if room.min() <= _SLOT_PX or (box[2:] - box[:2]).min() <= _PASTED_PX or (_covered(boxes, box) >= 0.3).any():
            continue
        _warp_part(image, source, index, labels, (left, top, right, bottom), matrix, polygons)
        boxes = np.concatenate([boxes, box[None]])
        classes = np.append(classes, labels.classes[number])
    return LabelledImage(image, boxes, classes)


def _covered(boxes: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return (boxes,) the share of each box that one other covers."""
    common = np.minimum(boxes[:, 2:], by[2:]) - np.maximum(boxes[:, :2], by[:2])
    return np.asarray(common.clip(0).prod(1) / _area(boxes))


def _corners(part: Part) -> np.ndarray:
    left, top, right, bottom = part
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return points (…, 2) through a (3, 3) matrix."""
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    return homogeneous[..., :2] / homogeneous[..., 2:]


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _bounds(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the upright boxes around boxes seen through a matrix."""
    if not matrix[0, 1] and not matrix[1, 0] and not matrix[2, :2].any():
        return (boxes * matrix.diagonal()[[0, 1, 0, 1]] + matrix[[0, 1, 0, 1], 2]).astype(np.float32)
    corners = _moved(boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]].astype(np.float64), matrix)
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
    kept = (width > 2) & (height > 2) & (aspect < 20) & (width * height > _LEAST_SHARE * _area(sample.boxes))
    return LabelledImage(sample.image, boxes[kept], sample.classes[kept])


def mixup(a: LabelledImage, b: LabelledImage, weight: float) -> LabelledImage:
    """Return weight · a + (1 − weight) · b with the objects of both."""
    image = cv2.addWeighted(a.image, weight, b.image, 1 - weight, 0)
    return LabelledImage(image, np.concatenate([a.boxes, b.boxes]), np.concatenate([a.classes, b.classes]))


def shift_colours(image: np.ndarray, augment: Augment, random: np.random.Generator) -> np.ndarray:
    """Return the image with hue, saturation and brightness each multiplied by 1 ± up to its setting."""
    gains = 1 + random.uniform(-1, 1, 3) * (augment.hue, augment.saturation, augment.brightness)
    if np.all(gains == 1):
        return image
    levels = np.arange(256)
    hue_table = (levels * gains[0] % 180).astype(np.uint8)
    tables = [hue_table, *((levels * gain).clip(0, 255).astype(np.uint8) for gain in gains[1:])]
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, np.stack(tables, 1)[None]), cv2.COLOR_HSV2BGR)


def flip(sample: LabelledImage, vertically: bool = False) -> LabelledImage:
    """Return the mirror image, left for right, or top for bottom."""
    axis, side = (1, sample.image.shape[0]) if vertically else (0, sample.image.shape[1])
    boxes = sample.boxes.copy()
    boxes[:, [axis, axis + 2]] = side - sample.boxes[:, [axis + 2, axis]]
    return LabelledImage(cv2.flip(sample.image, 0 if vertically else 1), boxes, sample.classes)
