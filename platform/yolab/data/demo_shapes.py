"""What the demo set is drawn with: random bits, directions and shapes, all in integers.

Coordinates inside a shape are fixed point: UNIT is the shape's nominal half side. No float takes part, since the last
bit of a sine or a square root may differ between machines.
"""

from collections.abc import Callable

import numpy as np

UNIT = 1024
SUBSAMPLES = 4  # per pixel and axis; the share of them inside the shape is the pixel's coverage
# Cosine and sine of 0, 15 .. 75 degrees, in UNIT.
_QUADRANT = ((1024, 0), (989, 265), (887, 512), (724, 724), (512, 887), (265, 989))
DIRECTIONS = tuple(turned for c, s in _QUADRANT for turned in ((c, s), (-s, c), (-c, -s), (s, -c)))
TILTS = tuple(turned for turned in DIRECTIONS if turned[0] >= 989)  # -15, 0, 15 degrees: how objects are turned


class Bits:
    """Whole numbers from raw random bits. numpy promises PCG64's stream of a seed, unlike that of its distributions."""

    def __init__(self, *seed: int) -> None:
        self._source = np.random.PCG64(list(seed))

    def between(self, low: int, high: int) -> int:
        """Return a number of low..high, both included."""
        return low + ((int(self._source.random_raw()) >> 32) * (high - low + 1) >> 32)

    def grid(self, below: int, *shape: int) -> np.ndarray:
        """Return numbers of 0..below-1 as int32 of `shape`."""
        raw = self._source.random_raw(int(np.prod(shape)))
        return ((raw >> np.uint64(32)) * np.uint64(below) >> np.uint64(32)).astype(np.int32).reshape(shape)

    def noise(self, amplitude: int, *shape: int) -> np.ndarray:
        """Return noise of -amplitude..amplitude, triangular (the sum of two bytes), as int32 of `shape`."""
        count = int(np.prod(shape))
        raw = self._source.random_raw((count + 3) // 4)
        pairs = [(raw >> np.uint64(shift)).astype(np.uint16) for shift in (0, 16, 32, 48)]
        words = np.stack(pairs, 1).reshape(-1)[:count].astype(np.int32)
        return (((words & 255) + (words >> 8) - 255) * amplitude // 255).reshape(shape)


def disc(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u * u + v * v <= UNIT * UNIT


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    square = u * u + v * v
    return (square <= UNIT * UNIT) & (square >= 560 * 560)


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = abs(u), abs(v)
    return (np.maximum(u, v) <= UNIT) & (np.minimum(u, v) <= 330)


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """An equilateral triangle of circumradius 1.2 around the origin."""
    inradius = UNIT * 6 // 10
    return (v <= inradius) & (887 * abs(u) - 512 * v <= inradius * UNIT)


def checker(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) <= 900


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "disc": disc,
    "ring": ring,
    "cross": cross,
    "triangle": triangle,
    "checker": checker,
}


def coverage(shape: str, side_px: int, direction: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return how much of each pixel the shape covers, and how much of that is its dark texture: 0..256, int32.

    Both are (n, n) with n odd, the shape's centre in the middle; only the checker has a texture.
    """
    reach = side_px * 5 // 8 + 2  # a square on its corner reaches 1.25 half sides
    steps = 2 * SUBSAMPLES  # positions count in half subsamples, so that subsamples lie on odd ones
    at = np.arange(-reach * steps - SUBSAMPLES + 1, reach * steps + SUBSAMPLES, 2, dtype=np.int32)
    x, y = at[None, :], at[:, None]
    cosine, sine = direction
    half_side = side_px * steps // 2
    u, v = (x * cosine + y * sine) // half_side, (y * cosine - x * sine) // half_side
    inside = SHAPES[shape](u, v)
    covered = _share(inside)
    if shape != "checker":
        return covered, np.zeros_like(covered)
    odd = ((u + 900) // 600 + (v + 900) // 600) & 1  # three by three cells
    return covered, _share(inside & (odd == 1))


def _share(inside: np.ndarray) -> np.ndarray:
    n = len(inside) // SUBSAMPLES
    counts = inside.reshape(n, SUBSAMPLES, n, SUBSAMPLES).sum((1, 3), dtype=np.int32)
    return counts * 256 // (SUBSAMPLES * SUBSAMPLES)
