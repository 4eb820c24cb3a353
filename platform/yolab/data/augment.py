"""Augmentation of training images: mosaic, affine or perspective, mixup, colour, then the rows of `AUGMENTATIONS`,
paste-in and flips first; boxes follow exactly, and tightly where objects have outlines.

Where everything goes is decided first, then it is drawn (`drawing.py`). Every random choice comes from the generator
that is passed in, which the loader derives from (seed, epoch, index of the sample).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from yolab.data.drawing import LabelledImage, Labels, Place, Source, area, draw, moved, shift, warp_part
from yolab.experiment import Augment

# paste-in, as the published code has it: the slots' largest sides as shares of the image's, how often one is used, the
# sides that a slot and an object in it must exceed
_SLOTS = (0.75,) * 2 + (0.5,) * 4 + (0.25,) * 4 + (0.125,) * 4 + (0.0625,) * 6
_SLOT_USED, _SLOT_PX, _PASTED_PX = 0.8, 20, 10


@dataclass(frozen=True)
class Augmentation:
    """A row of `AUGMENTATIONS`: its help, and what it makes of a sample that has been drawn, with the images that there
    are and a generator for its choices.

    How often is the setting of its name in `Augment`, or for one that was added its share in `data.augment.extra`:
    that share is the only setting that it can have, ranges of its own are constants in it.
    """

    help: str
    apply: Callable[[LabelledImage, Source, np.random.Generator], LabelledImage]


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
    # each is decided before any is done, so that none depends on how much those before it draw
    chosen = [name for name, share in augment.shares().items() if random.random() < share]
    for name, row in AUGMENTATIONS.items():
        if name in chosen:
            result = row.apply(result, source, random)
    return result


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
    return shift(move_x, move_y) @ shear @ rotation @ perspective @ shift(-canvas / 2, -canvas / 2)


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
        matrix = shift(*low) @ np.diag([scale, scale, 1]) @ shift(-left, -top)
        around = moved(points, matrix)
        box = np.concatenate([around.min(0), around.max(0)]).clip(0, size).astype(np.float32)
        if room.min() <= _SLOT_PX or (box[2:] - box[:2]).min() <= _PASTED_PX or (_covered(boxes, box) >= 0.3).any():
            continue
        warp_part(image, source, index, labels, (left, top, right, bottom), matrix, polygons)
        boxes = np.concatenate([boxes, box[None]])
        classes = np.append(classes, labels.classes[number])
    return LabelledImage(image, boxes, classes)


def _covered(boxes: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return (boxes,) the share of each box that one other covers."""
    common = np.minimum(boxes[:, 2:], by[2:]) - np.maximum(boxes[:, :2], by[:2])
    return np.asarray(common.clip(0).prod(1) / area(boxes))


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


# in the order in which they are done
AUGMENTATIONS: dict[str, Augmentation] = {
    "paste_in": Augmentation("objects of other images, cut out along their outlines", paste_in),
    "vertical_flip": Augmentation("mirrored, top for bottom", lambda sample, _, __: flip(sample, vertically=True)),
    "flip": Augmentation("mirrored, left for right", lambda sample, _, __: flip(sample)),
}
