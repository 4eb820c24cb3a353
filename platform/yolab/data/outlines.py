"""The polygons around objects: boxes that stay tight when an image is turned or an object cut off, and cut-outs."""

import itertools
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
        left = self.without(~kept)
        return replace(left, owners=(np.cumsum(kept) - 1)[left.owners]) if left is not None else None

    def without(self, dropped: np.ndarray) -> "Outlines | None":
        """Return the outlines of the objects where `dropped` (objects,) is false, under the numbers that they have."""
        polygons = ~dropped[self.owners]
        points = self.points[np.repeat(polygons, self.lengths)]
        return Outlines(points, self.lengths[polygons], self.owners[polygons]) if polygons.any() else None

    def of(self, owner: int) -> list[np.ndarray]:
        """Return the polygons of one object, each (points, 2)."""
        parts = np.split(self.points, np.cumsum(self.lengths)[:-1])
        return [part for part, of in zip(parts, self.owners) if of == owner]


def joined(parts: Sequence[Outlines | None], first_objects: np.ndarray) -> Outlines | None:
    """Return the outlines of several groups of objects as those of one, the objects of each group numbered from the
    place in `first_objects`; None if there is none."""
    there = [(part, first) for part, first in zip(parts, first_objects) if part is not None]
    if not there:
        return None
    return Outlines(
        np.concatenate([part.points for part, _ in there]),
        np.concatenate([part.lengths for part, _ in there]),
        np.concatenate([part.owners + first for part, first in there]),
    )


def read(segmentations: Sequence[Any], boxes: np.ndarray) -> Outlines | None:
    """Return COCO's polygons, lists of x y x y …, of objects with `boxes` (objects, 4), x1 y1 x2 y2; None if none has
    any. Masks in another encoding, and polygons that are not those of the box, are left out: the box is right."""
    found = _all_at_once(segmentations)
    if found is None:
        found = _one_by_one(segmentations)
    points, lengths, owners = found
    if not len(lengths):
        return None
    objects, firsts = np.unique(owners, return_index=True)
    first_points = (np.cumsum(lengths) - lengths)[firsts]
    low, high = (bound.reduceat(points, first_points) for bound in (np.minimum, np.maximum))
    strange = np.zeros(len(boxes), bool)
    strange[objects] = ~_fits(np.concatenate([low, high], 1), boxes[objects])
    return Outlines(points, lengths, owners).without(strange)


_Polygons = tuple[np.ndarray, np.ndarray, np.ndarray]  # points, lengths and owners, as Outlines has them


def _all_at_once(segmentations: Sequence[Any]) -> _Polygons | None:
    """Return the polygons of three points and more; None if one is no plain list of numbers."""
    polygons, owners = [], []
    for owner, segmentation in enumerate(segmentations):
        if type(segmentation) is not list or not all(type(polygon) is list for polygon in segmentation):
            continue
        for polygon in segmentation:
            if len(polygon) >= 6 and not len(polygon) % 2:
                polygons.append(polygon)
                owners.append(owner)
            elif len(polygon) % 2 or not {int, float}.issuperset(map(type, polygon)):
                return None
    try:
        points = np.array(list(itertools.chain.from_iterable(polygons)), np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    if points.ndim != 1:
        return None
    return points.reshape(-1, 2), np.array(list(map(len, polygons)), np.int64) // 2, np.array(owners, np.int64)


def _one_by_one(segmentations: Sequence[Any]) -> _Polygons:
    points, lengths, owners = [np.zeros((0, 2), np.float32)], [], []
    for owner, segmentation in enumerate(segmentations):
        try:
            polygons = [np.array(polygon, np.float32).reshape(-1, 2) for polygon in segmentation or []]
        except (TypeError, ValueError, OverflowError):
            continue
        polygons = [polygon for polygon in polygons if len(polygon) >= 3]
        points += polygons
        lengths += [len(polygon) for polygon in polygons]
        owners += [owner] * len(polygons)
    return np.concatenate(points), np.array(lengths, np.int64), np.array(owners, np.int64)


def _fits(reach: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return (objects,) whether outlines reach as far as the boxes do, to 2 px or a twentieth of their sides."""
    off = np.abs(reach - boxes)
    return np.asarray((off <= np.maximum(2, 0.05 * np.tile(boxes[:, 2:] - boxes[:, :2], 2))).all(1))


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
