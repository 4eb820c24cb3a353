"""Intervals of AP's difference: exact where COCO is exact, and as wide as they claim."""

from dataclasses import replace

import numpy as np
import pytest

from yolab.data.samples import Samples, Truth
from yolab.evaluation import significance
from yolab.evaluation.detect import ImageDetections
from yolab.evaluation.metrics import score
from yolab.evaluation.significance import ClassMatches, average_precision, match, of_recipes, of_weights


def weakened(detections: list[ImageDetections], share: float) -> list[ImageDetections]:
    """The same detections without every n-th."""
    step = round(1 / share)
    kept = []
    for number, found in enumerate(detections):
        rows = [row for row in range(len(found.scores)) if (row + number) % step]
        kept.append(ImageDetections(found.image_id, found.boxes[rows], found.scores[rows], found.classes[rows]))
    return kept


def test_ap_of_matched_detections_is_cocos(scored):
    dataset, detections = scored
    matches = match(dataset, detections)
    ap = average_precision(matches, np.ones((len(dataset.samples), 1)))
    assert ap[0] == pytest.approx(score(dataset, detections).metrics["ap"], abs=1e-12)


def test_an_image_drawn_twice_counts_as_two_images(scored):
    """A weighted AP equals COCO's on a split with that image copied."""
    dataset, detections = scored
    twice = dataset.samples[4].image_id
    number = len(dataset.truth)
    copies = [
        row | {"id": number + place + 1, "image_id": 1000}
        for place, row in enumerate(row for row in dataset.truth if row["image_id"] == twice)
    ]
    copied = type(dataset)(
        **vars(dataset)
        | {"samples": Samples.of((*dataset.samples, replace(dataset.samples[4], image_id=1000)))}
        | {"truth": Truth.of((*dataset.truth, *copies))}
    )
    source = next(found for found in detections if found.image_id == twice)
    again = ImageDetections(1000, source.boxes, source.scores, source.classes)
    weights = np.ones((len(dataset.samples), 1))
    weights[4] = 2
    ap = average_precision(match(dataset, detections), weights)
    assert ap[0] == pytest.approx(score(copied, [*detections, again]).metrics["ap"], abs=1e-12)


def test_a_model_does_not_differ_from_itself(scored):
    dataset, detections = scored
    matches = match(dataset, detections)
    assert of_weights(matches, matches, 100) == significance.Interval(0.0, 0.0, 0.0)


def test_a_clear_loss_is_shown_and_the_same_each_time(scored):
    dataset, detections = scored
    first, second = match(dataset, detections), match(dataset, weakened(detections, 0.25))
    interval = of_weights(first, second, 200)
    assert interval.low < interval.difference < interval.high < 0
    assert interval.is_shown
    assert interval == of_weights(first, second, 200)


def test_no_detections_at_all_are_worth_nothing(scored):
    dataset, detections = scored
    interval = of_weights(match(dataset, detections), match(dataset, []), 50)
    assert interval.difference == pytest.approx(-score(dataset, detections).metrics["ap"])


IOUS = 3


def detector(random: np.random.Generator, objects: np.ndarray, skill: float) -> tuple[np.ndarray, ...]:
    """Detections of a made-up detector: image, score, and whether an object was found, at each IoU."""
    owners = np.repeat(np.arange(len(objects)), objects)
    ease = random.normal(size=len(objects))[owners]  # an image is easy or hard for all that is in it
    found = random.random((IOUS, len(owners))) < 1 / (1 + np.exp(-(skill + 0.7 * ease - np.arange(IOUS)[:, None])))
    found = np.logical_and.accumulate(found, axis=0)
    false = random.poisson(1.5, len(objects))
    image = np.concatenate([owners, np.repeat(np.arange(len(objects)), false)])
    scores = np.concatenate([random.normal(1.0, 1.0, len(owners)), random.normal(-0.3, 1.0, false.sum())])
    return image, scores, np.concatenate([found, np.zeros((IOUS, false.sum()), bool)], 1)


def cut(detections: tuple[np.ndarray, ...], objects: np.ndarray, images: np.ndarray) -> ClassMatches:
    """The matches of some of the images, numbered from 0."""
    image, scores, hit = detections
    place = np.full(len(objects), -1)
    place[images] = np.arange(len(images))
    rows = np.flatnonzero(place[image] >= 0)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return significance.compact(
        place[image[rows]], hit[:, rows], np.zeros((IOUS, len(rows)), bool), objects[images].astype(float)
    )


def test_intervals_of_weights_hold_the_true_difference_as_often_as_they_say():
    """300 samples of 200 images from a population of 60 000, whose AP is the truth."""
    random = np.random.default_rng(1)
    objects = random.poisson(3, 60_000)
    both = [detector(random, objects, skill) for skill in (0.5, 0.8)]
    everything = np.arange(len(objects))
    alone = np.ones((len(objects), 1))
    first, second = (average_precision([cut(each, objects, everything)], alone)[0] for each in both)
    truth, held = second - first, 0
    assert truth > 0.03
    for _ in range(300):
        images = random.choice(len(objects), 200, replace=False)
        interval = of_weights(*([cut(each, objects, images)] for each in both), resamples=300)
        held += interval.low <= truth <= interval.high
    print(f"held in {held / 300:.1%}")
    assert 0.92 <= held / 300 <= 0.98


@pytest.mark.parametrize(("runs", "spread"), [(3, 1.0), (3, 3.0), (5, 2.0)])
def test_intervals_of_recipes_hold_the_true_difference_as_often_as_they_say(runs, spread):
    """4000 pairs of recipes, the second with another spread over seeds than the first."""
    random = np.random.default_rng(2)
    held = 0
    for _ in range(4000):
        interval = of_recipes(random.normal(50, 0.3, runs), random.normal(50.4, 0.3 * spread, runs))
        held += interval.low <= 0.4 <= interval.high
    print(f"held in {held / 4000:.1%}")
    assert 0.92 <= held / 4000 <= 0.98


def test_recipes_without_any_spread_differ_by_what_they_differ():
    assert of_recipes([50.0, 50.0], [51.0, 51.0]) == significance.Interval(1.0, 1.0, 1.0)
