"""One picture of the demo set: a cluttered ground, objects that overlap, light and noise over all; integers only."""

from dataclasses import dataclass

import numpy as np

from yolab.data.demo_shapes import DIRECTIONS, SHAPES, TILTS, UNIT, Bits, coverage

# What makes the task hard; values are 0..255 unless said otherwise.
OBJECTS = (3, 7)  # per image; a crowded one may end with fewer than it was meant to have, but with three at least
SIZE_SHARES = (30, 52, 18)  # percent of small, medium and large objects
SIDES_PX = ((18, 29), (36, 74), (108, 124))  # nominal sides of small, medium and large
LARGE_AT_MOST = 1  # per image
HIDDEN_AT_MOST = 20  # percent of an object's pixels that later ones may cover, all together
OUTSIDE_AT_MOST = 15  # percent of an object's side that may lie beyond the image
CONTRAST = 120  # a pixel under an object is too alike if it differs by less, summed over red, green and blue
ALIKE_AT_MOST = 10  # percent of such pixels under an object
COLOUR_JITTER = 22
GROUND = (70, 160)  # the range of each channel of the ground's colours
SHADING = 40  # how much of 256 the light falls off across an object
PATCH_LAYERS = (2, 3)
PATCH_STRENGTH = 160  # of 256, how much of a patch's colour covers the ground
LINES = (2, 6)
SPECKS = (20, 40)
LIGHT = (150, 310)  # of 256, at either end of the image
SHADOW = 80  # of 256, taken away where a soft shadow is deepest
NOISE = 11
TRIES = (5, 12)  # an object is drawn anew so often, and each time this many places are tried

COLOURS = {
    "red": (208, 48, 44),
    "orange": (228, 128, 32),
    "yellow": (216, 200, 52),
    "green": (52, 160, 60),
    "teal": (40, 172, 176),
    "blue": (52, 84, 208),
    "purple": (148, 64, 188),
    "white": (212, 212, 208),
}
_PALETTE = np.array(list(COLOURS.values()), np.int32)


@dataclass(frozen=True)
class Drawn:
    """An object as drawn: its shape's name, its colour's index in COLOURS, how many pixels it has, its box in pixels.

    Pixels and box are those inside the image, whatever later objects cover.
    """

    shape: str
    colour: int
    pixels: int
    box_xywh: tuple[int, int, int, int]


def compose(bits: Bits, width: int, height: int) -> tuple[np.ndarray, list[Drawn]]:
    """Return the pixels (height, width, 3) uint8 RGB and the objects in them, later ones over earlier ones."""
    canvas = _ground(bits, width, height)
    owner = np.full((height, width), -1, np.int32)  # index of the topmost object
    objects: list[Drawn] = []
    sides = [side for side in _sides(bits) for _ in range(TRIES[0])]
    while sides or len(objects) < OBJECTS[0]:
        side = sides.pop(0) if sides else bits.between(*SIDES_PX[0])
        drawn = _place(bits, canvas, owner, side, objects)
        if drawn:
            objects.append(drawn)
            del sides[: len(sides) % TRIES[0]]
    return _expose(bits, canvas), objects


def _sides(bits: Bits) -> list[int]:
    """Return the nominal sides of an image's objects in pixels, large ones first: these are drawn undermost."""
    kinds: list[int] = []
    for _ in range(bits.between(*OBJECTS)):
        lot = bits.between(0, 99)
        kind = 0 if lot < SIZE_SHARES[0] else 1 if lot < SIZE_SHARES[0] + SIZE_SHARES[1] else 2
        kinds.append(min(kind, 1) if kinds.count(2) == LARGE_AT_MOST else kind)
    return [bits.between(*SIDES_PX[kind]) for kind in sorted(kinds, reverse=True)]


def _place(bits: Bits, canvas: np.ndarray, owner: np.ndarray, side: int, earlier: list[Drawn]) -> Drawn | None:
    """Draw one object where it hides no other too much and stands out from the ground; None if no place was found.

    Changes `canvas` (height, width, 3) and `owner` (height, width).
    """
    height, width = owner.shape
    shape = list(SHAPES)[bits.between(0, len(SHAPES) - 1)]
    colour = bits.between(0, len(_PALETTE) - 1)
    paint = _PALETTE[colour] + bits.noise(COLOUR_JITTER, 3)
    covered, dark = coverage(shape, side, TILTS[bits.between(0, len(TILTS) - 1)])
    shade = _shade(len(covered), DIRECTIONS[bits.between(0, len(DIRECTIONS) - 1)])
    totals = np.array([drawn.pixels for drawn in earlier], np.int64)
    hidden = totals - np.bincount(owner[owner >= 0], minlength=len(earlier))
    margin = side // 2 - side * OUTSIDE_AT_MOST // 100
    for _ in range(TRIES[1]):
        left = bits.between(margin, width - 1 - margin) - len(covered) // 2
        top = bits.between(margin, height - 1 - margin) - len(covered) // 2
        there = np.s_[max(top, 0) : top + len(covered), max(left, 0) : left + len(covered)]
        here = np.s_[max(-top, 0) : height - top, max(-left, 0) : width - left]
        alpha = covered[here][:, :, None]
        mask = alpha[:, :, 0] >= 128
        under = canvas[there]
        lost = np.bincount(owner[there][mask & (owner[there] >= 0)], minlength=len(earlier))
        alike = int((abs(under[mask] - paint).sum(1) < CONTRAST).sum())
        if ((hidden + lost) * 100 > totals * HIDDEN_AT_MOST).any() or alike * 100 > int(mask.sum()) * ALIKE_AT_MOST:
            continue
        face = paint * (256 - dark[here][:, :, None] * 170 // 256) * shade[here][:, :, None] >> 16
        canvas[there] = under + ((face - under) * alpha >> 8)
        owner[there][mask] = len(earlier)
        return Drawn(shape, colour, int(mask.sum()), _box(mask, max(left, 0), max(top, 0)))
    return None


def _box(mask: np.ndarray, left: int, top: int) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return left + x, top + y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def _shade(n: int, direction: tuple[int, int]) -> np.ndarray:
    """Return (n, n) int32, 256 on average, rising along `direction` by SHADING."""
    return 256 + (_along(n, n, direction) - 128) * SHADING // 256


def _along(height: int, width: int, direction: tuple[int, int]) -> np.ndarray:
    """Return (height, width) int32 that rises along `direction` from about 0 to about 256 across the image."""
    x, y = np.arange(width, dtype=np.int32) * 2 - width, np.arange(height, dtype=np.int32)[:, None] * 2 - height
    return np.clip(128 + (x * direction[0] + y * direction[1]) * 128 // (max(width, height) * UNIT), 0, 256)


def _ground(bits: Bits, width: int, height: int) -> np.ndarray:
    """Return a ground (height, width, 3) int32 with what a colour threshold would take for objects."""
    low, high = GROUND
    start, end = low + bits.grid(high - low, 3), low + bits.grid(high - low, 3)
    along = _along(height, width, DIRECTIONS[bits.between(0, len(DIRECTIONS) - 1)])
    ground = start + ((end - start) * along[:, :, None] >> 8)
    for _ in range(bits.between(*PATCH_LAYERS)):
        long, short = bits.between(28, 60), bits.between(9, 18)
        cells = (long, short) if bits.between(0, 1) else (short, long)
        rough = _clouds(bits, width, height, *cells) * 3 + _clouds(bits, width, height, 6, 6)
        alpha = np.clip((rough - 660) * 3, 0, PATCH_STRENGTH)[:, :, None]
        ground += (_PALETTE[bits.between(0, len(_PALETTE) - 1)] - ground) * alpha >> 8
    for _ in range(bits.between(*LINES)):
        _line(bits, ground)
    for _ in range(bits.between(*SPECKS)):
        x, y, size = bits.between(0, width - 4), bits.between(0, height - 4), bits.between(1, 3)
        ground[y : y + size, x : x + size] = _PALETTE[bits.between(0, len(_PALETTE) - 1)]
    return ground


def _line(bits: Bits, ground: np.ndarray) -> None:
    """Draw a thin straight line, 1 to 2 pixels wide, of a third to the whole of the image's length."""
    height, width, _ = ground.shape
    cosine, sine = DIRECTIONS[bits.between(0, len(DIRECTIONS) - 1)]
    x = np.arange(width, dtype=np.int32) - bits.between(0, width - 1)
    y = (np.arange(height, dtype=np.int32) - bits.between(0, height - 1))[:, None]
    across, along = abs(x * sine - y * cosine), abs(x * cosine + y * sine)
    on = (across <= bits.between(UNIT // 2, UNIT)) & (along <= bits.between(30, 90) * UNIT)
    ground[on] = _PALETTE[bits.between(0, len(_PALETTE) - 1)]


def _clouds(bits: Bits, width: int, height: int, cell_width: int, cell_height: int) -> np.ndarray:
    """Return smooth noise (height, width) int32 of 0..255: random values at the corners of cells, bilinear between."""
    corners = bits.grid(256, height // cell_height + 2, width // cell_width + 2)
    x, y = np.arange(width), np.arange(height)
    column, row = x // cell_width, y // cell_height
    right, down = (x % cell_width)[None, :], (y % cell_height)[:, None]
    lines = corners[:, column] * (cell_width - right) + corners[:, column + 1] * right
    blend = lines[row] * (cell_height - down) + lines[row + 1] * down
    return (blend // (cell_width * cell_height)).astype(np.int32)


def _expose(bits: Bits, canvas: np.ndarray) -> np.ndarray:
    """Return the canvas as a camera sees it: uneven light, a soft shadow, noise; (height, width, 3) uint8."""
    height, width, _ = canvas.shape
    start, end = bits.between(*LIGHT), bits.between(*LIGHT)
    light = start + ((end - start) * _along(height, width, DIRECTIONS[bits.between(0, len(DIRECTIONS) - 1)]) >> 8)
    light -= light * _clouds(bits, width, height, 64, 64) * SHADOW >> 16
    seen = (canvas * light[:, :, None] >> 8) + bits.noise(NOISE, height, width, 3)
    return np.clip(seen, 0, 255).astype(np.uint8)
