"""Is a difference of AP real? For two sets of weights by a paired bootstrap over the images that they were scored on;
for two recipes by their runs with several seeds.

The bootstrap resamples detections that have been matched to objects once: a resample gives each image a weight, and AP
is computed from weighted counts.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.sparse import csr_array

from yolab.data.coco import Dataset
from yolab.evaluation.detect import ImageDetections
from yolab.evaluation.metrics import to_coco

LEVEL = 0.95
_RECALL_COUNT = 101
_RECALLS = np.append(np.linspace(0, 1, _RECALL_COUNT), np.inf)
_MOST_DETECTIONS = 100  # of an image, as COCO counts them
_AT_ONCE = 64  # resamples, so that their counts stay in the processor's cache


@dataclass(frozen=True)
class ClassMatches:
    """Of one class, the detections that found an object at any IoU, by falling score: `image` (hits,) the number of
    each one's image, `hit` (IoUs, hits) whether it found one at that IoU. `counted`: for each IoU how many detections
    each image has (hits, images) from after the hit before up to this one, without those that found a crowd.
    `objects` (images,): how many there are to find."""

    image: np.ndarray
    hit: np.ndarray
    counted: tuple[csr_array, ...]
    objects: np.ndarray


@dataclass(frozen=True)
class Interval:
    """A difference, second minus first, and where the true one lies with a probability of `LEVEL`."""

    difference: float
    low: float
    high: float

    @property
    def is_shown(self) -> bool:
        return self.low > 0 or self.high < 0


def match(dataset: Dataset, detections: Sequence[ImageDetections]) -> list[ClassMatches]:
    """Match detections to the objects of a split as COCO does, class by class, at its ten IoUs."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = to_coco(dataset, detections)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset.ground_truth()
        truth.createIndex()
        found = truth.loadRes(results) if results else COCO()
        if not results:
            found.dataset = truth.dataset | {"annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [_MOST_DETECTIONS]
        evaluation.evaluate()
    images, ious = len(evaluation.params.imgIds), len(evaluation.params.iouThrs)
    starts = range(0, len(dataset.names) * images, images)
    return [_of_class(evaluation.evalImgs[start : start + images], images, ious) for start in starts]


def average_precision(matches: Sequence[ClassMatches], weights: np.ndarray) -> np.ndarray:
    """Return the AP of each resample (resamples,), as a fraction; weights (images, resamples) are how often each one
    has an image. NaN for a resample without any object."""
    total, classes = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    for each in matches:
        objects = each.objects @ weights
        found = weights[each.image]
        ap, last = np.zeros(weights.shape[1]), None
        for hit, counted in zip(each.hit, each.counted):
            if counted is not last:  # most classes have no crowds, and then all IoUs share it
                seen, last = np.cumsum(counted @ weights, axis=0), counted
            ap += _average(found[hit], seen[hit], objects)
        there = objects > 0
        total += np.where(there, ap / len(each.hit), 0)
        classes += there
    with np.errstate(invalid="ignore"):
        return total / classes


def of_weights(
    first: Sequence[ClassMatches], second: Sequence[ClassMatches], resamples: int = 1000, seed: int = 0
) -> Interval:
    """Return how far the AP of two sets of weights differs, by a paired bootstrap over the images."""
    images = len(first[0].objects)
    alone = np.ones((images, 1))
    differences = [
        average_precision(second, weights) - average_precision(first, weights)
        for weights in _resampled(images, resamples, seed)
    ]
    low, high = np.nanquantile(np.concatenate(differences), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    found = average_precision(second, alone) - average_precision(first, alone)
    return Interval(float(found[0]), float(low), float(high))


def of_recipes(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Return how far the mean scores of two recipes differ, from at least two runs of each with different seeds, whose
    scores may spread differently (Welch's t interval)."""
    found = float(np.mean(second) - np.mean(first))
    if np.ptp(first) == np.ptp(second) == 0:
        return Interval(found, found, found)
    bounds = stats.ttest_ind(second, first, equal_var=False).confidence_interval(LEVEL)
    return Interval(found, float(bounds.low), float(bounds.high))


def _of_class(by_image: Sequence[dict | None], images: int, ious: int) -> ClassMatches:
    objects = np.zeros(images)
    parts = []
    for number, found in enumerate(by_image):
        if found is None:
            continue
        objects[number] = np.count_nonzero(np.asarray(found["gtIgnore"]) == 0)
        count = len(found["dtScores"])
        scores = np.asarray(found["dtScores"], dtype=np.float64)
        parts.append((np.full(count, number), scores, found["dtMatches"] > 0, found["dtIgnore"] > 0))
    if not parts:
        nothing = np.zeros((ious, 0), bool)
        return compact(np.zeros(0, int), nothing, nothing, objects)
    image, scores = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
    hit, ignored = (np.concatenate([part[column] for part in parts], 1) for column in (2, 3))
    order = np.argsort(-scores, kind="mergesort")
    return compact(image[order], hit[:, order], ignored[:, order], objects)


def compact(image: np.ndarray, hit: np.ndarray, ignored: np.ndarray, objects: np.ndarray) -> ClassMatches:
    """Return the matches of all detections of a class, by falling score: `image` (detections,) the number of each one's
    image, `hit` and `ignored` (IoUs, detections) whether it found an object, or a crowd, which counts neither way."""
    hit = hit & ~ignored
    hits = np.flatnonzero(hit.any(0))
    following = np.searchsorted(hits, np.arange(len(image)))  # the hit that each detection counts for
    counted: list[csr_array] = []
    for number, each in enumerate(ignored):
        if number and (each == ignored[number - 1]).all():
            counted.append(counted[-1])
            continue
        kept = ~each & (following < len(hits))
        ones = np.ones(np.count_nonzero(kept))
        counted.append(csr_array((ones, (following[kept], image[kept])), shape=(len(hits), len(objects))))
    return ClassMatches(image[hits], hit[:, hits], tuple(counted), objects)


def _average(found: np.ndarray, seen: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return the mean over COCO's 101 recalls of the best precision at that recall or a higher one (resamples,).

    found (hits, resamples): how often each hit is there; seen: detections so far. Precision falls between two hits, so
    only they matter: each covers the recalls that it newly reaches.
    """
    found = np.cumsum(found, axis=0)
    precision = found / np.maximum(seen, 1)
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    recall = found / np.maximum(objects, 1)
    near = (100 * recall).astype(np.int64)  # right, or one too few by rounding
    reached = near + (_RECALLS[near] <= recall) + (_RECALLS[near + 1] <= recall)
    newly = np.diff(reached, axis=0, prepend=0)
    return np.einsum("ij,ij->j", best, newly) / _RECALL_COUNT


def _resampled(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the weights (images, up to `_AT_ONCE`) of so many resamples of the images."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        chosen = random.integers(images, size=(images, count)) * count + np.arange(count)
        yield np.bincount(chosen.ravel(), minlength=images * count).reshape(images, count).astype(np.float64)
