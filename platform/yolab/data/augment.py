"""Augmentation of training images: mosaic, affine, mixup, colour, flip, in that order; boxes follow exactly.

Images are (rows, columns, 3) uint8 BGR; boxes (objects, 4) float32, x1 y1 x2 y2 in pixels. Every random choice comes
from the generator that is passed in, which the loader derives from (seed, epoch, index of the sample).
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from yolab.experiment import Augment

GREY = 114


@dataclass(frozen=True)
class LabelledImage:
    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


Read = Callable[[int], LabelledImage]  # index of a sample -> its image, long side `size`


def augmented(
    index: int, read: Read, count: int, size: int, augment: Augment, random: np.random.Generator
) -> LabelledImage:
    """Return the sample `index` of `count`, augmented, as a `size`×`size` image."""
    if random.random() < augment.mosaic:
        result = _mosaic_warped(index, read, count, size, augment, random)
        if random.random() < augment.mixup:
            other = _mosaic_warped(int(random.integers(count)), read, count, size, augment, random)
            result = mixup(result, other, random.beta(8, 8))
    else:
        result = warp(letterbox(read(index), size), size, augment, random)
    image = shift_colours(result.image, augment, random)
    result = LabelledImage(image, result.boxes, result.classes)
    return flip(result) if random.random() < augment.flip else result


def _mosaic_warped(
    index: int, read: Read, count: int, size: int, augment: Augment, random: np.random.Generator
) -> LabelledImage:
    nine = random.random() < augment.mosaic9
    others = random.integers(count, size=8 if nine else 3)
    tiles = [read(int(i)) for i in (index, *others)]
    canvas = mosaic9(tiles, size, random) if nine else mosaic4(tiles, size, random)
    return warp(canvas, size, augment, random)


def mosaic4(tiles: list[LabelledImage], size: int, random: np.random.Generator) -> LabelledImage:
    """Return four images around a random centre of a canvas of twice `size`."""
    centre_x, centre_y = (int(c) for c in random.uniform(size / 2, 3 * size / 2, 2))
    corners = []
    for position, tile in enumerate(tiles):
        rows, columns = tile.image.shape[:2]
        left = centre_x - columns if position % 2 == 0 else centre_x
        top = centre_y - rows if position < 2 else centre_y
        corners.append((left, top))
    return _paste(tiles, corners, 2 * size)


def mosaic9(tiles: list[LabelledImage], size: int, random: np.random.Generator) -> LabelledImage:
    """Return nine images, the first in the middle and the others around it, as a random crop of twice `size` out of a
    canvas of three times `size`."""
    middle_rows, middle_columns = tiles[0].image.shape[:2]
    left, top = size, size
    right, bottom = left + middle_columns, top + middle_rows
    offset_x, offset_y = (int(o) for o in random.uniform(0, size, 2))
    corners = [(left, top)]
    # clockwise from above the middle: above, above right, right, below right, below, below left, left, above left
    placed = ((0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1))
    for tile, (horizontal, vertical) in zip(tiles[1:], placed):
        rows, columns = tile.image.shape[:2]
        x = {-1: left - columns, 0: left, 1: right}[horizontal]
        y = {-1: top - rows, 0: top, 1: bottom}[vertical]
        corners.append((x, y))
    return _paste(tiles, [(x - offset_x, y - offset_y) for x, y in corners], 2 * size)


def _paste(tiles: list[LabelledImage], corners: list[tuple[int, int]], side: int) -> LabelledImage:
    """Return a grey canvas with each tile's top left corner at its place, cut at the canvas's edges."""
    canvas = np.full((side, side, 3), GREY, dtype=np.uint8)
    boxes = []
    for tile, (x, y) in zip(tiles, corners):
        rows, columns = tile.image.shape[:2]
        x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + columns, side), min(y + rows, side)
        if x1 < x2 and y1 < y2:
            canvas[y1:y2, x1:x2] = tile.image[y1 - y : y2 - y, x1 - x : x2 - x]
        boxes.append(tile.boxes + np.array([x, y, x, y], dtype=np.float32))
    clipped = np.concatenate(boxes).clip(0, side)
    return LabelledImage(canvas, clipped, np.concatenate([tile.classes for tile in tiles]))


def letterbox(sample: LabelledImage, size: int) -> LabelledImage:
    """Return the image in the middle of a grey square."""
    image, left, top = pad_to(sample.image, size, size)
    return LabelledImage(image, sample.boxes + np.array([left, top, left, top], dtype=np.float32), sample.classes)


def pad_to(image: np.ndarray, rows: int, columns: int) -> tuple[np.ndarray, int, int]:
    """Return the image in the middle of a grey (rows, columns) one, and the left and top margin in pixels."""
    top, left = (rows - image.shape[0]) // 2, (columns - image.shape[1]) // 2
    padded = np.full((rows, columns, 3), GREY, dtype=np.uint8)
    padded[top : top + image.shape[0], left : left + image.shape[1]] = image
    return padded, left, top


def warp(sample: LabelledImage, size: int, augment: Augment, random: np.random.Generator) -> LabelledImage:
    """Return the canvas scaled about its centre, which moves to a random place near the middle of a `size` square."""
    scale = random.uniform(1 - augment.scale, 1.1 + augment.scale) if augment.scale else 1.0
    move_x, move_y = random.uniform(0.5 - augment.translate, 0.5 + augment.translate, 2) * size
    rows, columns = sample.image.shape[:2]
    shift = np.array([move_x - scale * columns / 2, move_y - scale * rows / 2])
    if scale == 1 and not shift.any() and rows == columns == size:
        return sample
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    image = cv2.warpAffine(sample.image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3)
    moved = (sample.boxes * scale + np.tile(shift, 2)).astype(np.float32)
    return _without_remnants(LabelledImage(image, moved, sample.classes), size)


def _without_remnants(sample: LabelledImage, size: int) -> LabelledImage:
    """Clip boxes to the image and drop those of which too little is left: sides over 2 px, aspect under 20, more than
    a tenth of the area."""
    boxes = sample.boxes.clip(0, size)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    before = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(1)
    aspect = np.maximum(width / (height + 1e-9), height / (width + 1e-9))
    kept = (width > 2) & (height > 2) & (aspect < 20) & (width * height > 0.1 * before)
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


def flip(sample: LabelledImage) -> LabelledImage:
    """Return the mirror image, left for right."""
    columns = sample.image.shape[1]
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = columns - sample.boxes[:, [2, 0]]
    return LabelledImage(np.ascontiguousarray(sample.image[:, ::-1]), boxes, sample.classes)
