"""The polygons around objects: boxes that stay tight when an image is turned or an object cut off, and cut-outs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Outlines:
    """The polygons of an image's objects; an object may have several (a hole in it counts as one) or none."""

    points: np.ndarray  # (points, 2) float32, x y in pixels, polygon after polygon
    lengths: np.ndarray  # (polygons,) points of each
    owners: np.ndarray  # (polygons,) ascending, the object that each belongs to

    def scaled(self, scale: np.ndarray) -> "Outlines":
        return replace(self, points=self.points * scale)

    def only(self, kept: np.ndarray) -> "Outlines | None":
        """Return the outlines of the objects where `kept` (objects,) is true, those renumbered."""
        polygons = kept[self.owners]
        number = np.cumsum(kept) - 1
        points = self.points[np.repeat(polygons, self.lengths)]
        return Outlines(points, self.lengths[polygons], number[self.owners[polygons]]) if polygons.any() else None

    def of(self, owner: int) -> list[np.ndarray]:
        """Return the polygons of one object, each (points, 2)."""
        parts = np.split(self.points, np.cumsum(self.lengths)[:-1])
        return [part for part, of in zip(parts, self.owners) if of == owner]


def read(segmentations: Sequence[Any], boxes: np.ndarray) -> Outlines | None:
    """Return COCO's polygons, lists of x y x y …, of objects with `boxes` (objects, 4), x1 y1 x2 y2; None if none has
    any. Masks in another encoding, and polygons that are not those of the box, are left out: the box is right."""
    points, lengths, owners = [], [], []
    for owner, (segmentation, box) in enumerate(zip(segmentations, boxes)):
        try:
            polygons = [np.array(polygon, np.float32).reshape(-1, 2) for polygon in segmentation or []]
        except (TypeError, ValueError, OverflowError):
            continue
        polygons = [polygon for polygon in polygons if len(polygon) >= 3]
        if polygons and _fits(np.concatenate(polygons), box):
            points += polygons
            lengths += [len(polygon) for polygon in polygons]
            owners += [owner] * len(polygons)
    return Outlines(np.concatenate(points), np.array(lengths), np.array(owners)) if points else None


def _fits(points: np.ndarray, box: np.ndarray) -> bool:
    """Return whether points reach as far as a box does, to 2 px or a twentieth of its sides."""
    off = np.abs(np.concatenate([points.min(0), points.max(0)]) - box)
    return bool((off <= np.maximum(2, 0.05 * np.tile(box[2:] - box[:2], 2))).all())


def visible(outlines: Outlines, objects: int, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (objects, 4), x1 y1 x2 y2, the boxes around what a window shows of the objects, and around their whole
    outlines. The rows of objects without outline, or out of sight, are NaN.

    `window` (corners, 2) is a convex polygon. What bounds the shown part of an object is a point of its edges within
    the window, or a corner of the window within the object.
    """
    owner = np.repeat(outlines.owners, outlines.lengths)
    start = outlines.points.astype(np.float64)
    whole = _around(start, owner, objects)
    low, high = window.min(0), window.max(0)
    cut = ((whole[:, :2] < high) & (whole[:, 2:] > low)).all(1)
    seen = np.where(cut[:, None], whole, np.nan)
    if (np.isclose(window, low) | np.isclose(window, high)).all():  # upright: it shows all of what is within
        cut &= (whole[:, :2] < low).any(1) | (whole[:, 2:] > high).any(1)
    if not cut.any():
        return seen, whole

    edges = np.flatnonzero(cut[owner])
    along = start[_successors(outlines.lengths)[edges]] - start[edges]
    start, owner = start[edges], owner[edges]
    enters, leaves = _clipped(start, along, window)
    inside = enters <= leaves
    ends = [start[inside] + along[inside] * t[inside, None] for t in (enters, leaves)]
    held = [(np.flatnonzero(_contain(start, along, owner, objects, corner)), corner) for corner in window]
    points = np.concatenate([*ends, *(np.tile(corner, (len(which), 1)) for which, corner in held)])
    owners = np.concatenate([owner[inside], owner[inside], *(which for which, _ in held)])
    seen[cut] = _around(points, owners, objects)[cut]
    return seen, whole


def _successors(lengths: np.ndarray) -> np.ndarray:
    """Return for each point the next one around its polygon."""
    following = np.arange(1, lengths.sum() + 1)
    ends = lengths.cumsum()
    following[ends - 1] = ends - lengths
    return following


def _around(points: np.ndarray, owner: np.ndarray, objects: int) -> np.ndarray:
    low, high = np.full((objects, 2), np.inf), np.full((objects, 2), -np.inf)
    np.minimum.at(low, owner, points)
    np.maximum.at(high, owner, points)
    boxes = np.concatenate([low, high], 1)
    boxes[np.isinf(low[:, 0])] = np.nan
    return boxes


def _clipped(start: np.ndarray, along: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the edges start + t · along, t in 0..1, enter and leave a convex window (Cyrus, Beck 1978)."""
    sides = np.roll(window, -1, 0) - window
    outward = np.stack([sides[:, 1], -sides[:, 0]], 1)
    outward *= np.sign((outward * (window - window.mean(0))).sum(1, keepdims=True))
    beyond = start @ outward.T - (window * outward).sum(1)  # (edges, sides), above 0: on the outer side
    speed = along @ outward.T
    with np.errstate(divide="ignore", invalid="ignore"):
        t = -beyond / speed
    enters = np.where(speed < 0, t, 0).max(1, initial=0)
    leaves = np.where(speed > 0, t, 1).min(1, initial=1)
    leaves[((speed == 0) & (beyond > 0)).any(1)] = -1
    return enters, leaves


def _contain(start: np.ndarray, along: np.ndarray, owner: np.ndarray, objects: int, point: np.ndarray) -> np.ndarray:
    """Return (objects,) whether a point is in an object: a ray from it crosses the edges an odd number of times."""
    above = start[:, 1] > point[1]
    crosses = above != (start[:, 1] + along[:, 1] > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        x = start[:, 0] + (point[1] - start[:, 1]) / along[:, 1] * along[:, 0]
    return np.bincount(owner[crosses & (x > point[0])], minlength=objects) % 2 == 1
