from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolab.data import outlines
from yolab.data.augment import augmented, paste_in
from yolab.data.coco import Dataset
from yolab.data.drawing import GREY, LabelledImage
from yolab.data.images import ImageFolder
from yolab.data.loader import TrainingImages
from yolab.data.outlines import Outlines, visible
from yolab.data.samples import Sample, Samples, Truth
from yolab.experiment import Augment

PLAIN = Augment(preset="none", **dict.fromkeys(set(Augment.model_fields) - {"preset", "extra"}, 0.0))
KITE = np.array([[20, 0], [40, 20], [20, 50], [0, 20]], np.float32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Eight grey images, each with a bright kite that is its only object."""
    folder = tmp_path_factory.mktemp("set")
    random = np.random.default_rng(0)
    samples = []
    for number in range(8):
        width, height = (96, 72) if number % 2 else (72, 96)
        points = KITE + random.integers(4, 18, 2).astype(np.float32)
        image = np.full((height * 8, width * 8, 3), GREY, np.uint8)
        cv2.fillPoly(image, [(points * 8).astype(np.int32)], (255, 255, 255))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        box = np.concatenate([points.min(0), points.max(0)])[None]
        traced = outlines.read([[points.ravel().tolist()]], box)
        sides = number, width, height
        samples.append(Sample(ImageFolder(folder), f"{number}.png", *sides, box, np.array([number % 3]), traced))
    return Dataset(folder, "train", Samples.of(samples), (1, 2, 3), ("a", "b", "c"), Truth.of([]), {})


def bright(image: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(image.max(2) > 184)
    if not len(rows):
        return np.zeros(4)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(0, 0.9),
    translate=st.floats(0, 0.4),
    rotate=st.sampled_from([0.0, 180.0]),
    shear=st.sampled_from([0.0, 20.0]),
    perspective=st.sampled_from([0.0, 0.0008]),
)
def test_a_box_is_tight_also_where_its_object_is_turned_or_cut_off(dataset, seed, **ranges):
    source = TrainingImages(dataset, 128, PLAIN, 0).source
    changes = PLAIN.model_copy(update={"flip": 0.5, "vertical_flip": 0.5, **ranges})
    result = augmented(seed % 8, source, 128, changes, np.random.default_rng(seed))
    seen = bright(result.image)
    if len(result.boxes):
        np.testing.assert_allclose(result.boxes[0], seen, atol=2)
    else:
        assert min(seen[2:] - seen[:2]) <= 5


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), rotate=st.sampled_from([0.0, 90.0]))
def test_boxes_of_a_mosaic_end_where_their_objects_are_cut(dataset, seed, rotate):
    source = TrainingImages(dataset, 128, PLAIN, 0).source
    changes = PLAIN.model_copy(update={"mosaic": 1.0, "mosaic9": 0.3, "scale": 0.5, "rotate": rotate})
    result = augmented(seed % 8, source, 128, changes, np.random.default_rng(seed))
    for left, top, right, bottom in result.boxes:
        inner = result.image[round(top) : round(bottom), round(left) : round(right)]
        found = bright(inner)
        if min(inner.shape[:2]) > 10:
            np.testing.assert_allclose(found, [0, 0, *inner.shape[1::-1]], atol=4)  # tips of cut kites are faint


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), corners=st.integers(5, 12), sides=st.integers(3, 8))
def test_what_a_window_shows_is_what_it_shows_of_the_triangles_of_a_star(seed, corners, sides):
    random = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + random.uniform(0, 0.5, corners)
    around = np.stack([np.cos(angles), np.sin(angles)], 1)
    star = (200 + around * random.uniform(20, 190, (corners, 1))).astype(np.float32)
    regular = np.linspace(0, 2 * np.pi, sides, endpoint=False) + random.uniform(0, 1)
    middle = random.uniform(100, 300, 2)
    window = (middle + np.stack([np.cos(regular), np.sin(regular)], 1) * random.uniform(10, 150)).astype(np.float32)
    seen, whole = visible(Outlines(star, np.array([corners]), np.array([1])), 3, window)

    triangles = [np.array([[200, 200], a, b], np.float32) for a, b in zip(star, np.roll(star, -1, 0))]
    parts = [part[:, 0] for _, part in (cv2.intersectConvexConvex(t, window) for t in triangles) if part is not None]
    expected = np.full(4, np.nan)
    if parts:
        points = np.concatenate(parts)
        expected = np.concatenate([points.min(0), points.max(0)])
    np.testing.assert_allclose(seen[1], expected, atol=0.01)
    assert np.isnan(seen[[0, 2]]).all()
    np.testing.assert_allclose(whole[1], [*star.min(0), *star.max(0)], rtol=1e-6)


def test_only_polygons_that_are_those_of_the_box_are_read():
    square = [[10, 10, 30, 10, 30, 30, 10, 30]]
    boxes = np.tile(np.array([10, 10, 30, 30], np.float32), (6, 1))
    boxes[2] += 20
    mask = {"counts": "abc", "size": [40, 40]}
    found = outlines.read([square, mask, square, [[1, 2]], [[10, 10, "x", 10]], square * 2], boxes)
    assert found.owners.tolist() == [0, 5, 5]
    assert [len(found.of(owner)) for owner in range(6)] == [1, 0, 0, 0, 0, 2]
    kept = found.only(np.array([False, True, True, True, True, True]))
    assert (kept.owners.tolist(), kept.lengths.tolist()) == ([4, 4], [4, 4])
    assert outlines.read([None, []], boxes[:2]) is None


def test_pasted_objects_have_tight_boxes_and_hide_little_of_others(dataset):
    source = TrainingImages(dataset, 256, PLAIN, 0).source
    own = np.array([[100, 100, 160, 160]], np.float32)
    pasted = 0
    for seed in range(20):
        empty = LabelledImage(np.full((256, 256, 3), GREY, np.uint8), own, np.array([7]))
        result = paste_in(empty, source, np.random.default_rng(seed))
        np.testing.assert_array_equal(result.boxes[0], own[0])
        pasted += len(result.boxes) - 1
        for place, (left, top, right, bottom) in enumerate(result.boxes[1:], start=1):
            assert result.classes[place] in (0, 1, 2)
            inner = result.image[round(top) : round(bottom), round(left) : round(right)]
            np.testing.assert_allclose(bright(inner), [0, 0, *inner.shape[1::-1]], atol=2)
        hidden = (result.image[100:160, 100:160].max(2) > 184).mean()
        assert hidden < 0.3 * (len(result.boxes) - 1)
    assert pasted > 40


def test_an_outline_without_extent_or_outside_its_image_is_not_pasted(dataset):
    line = Outlines(np.array([[96.2, 5], [96.4, 20], [96.2, 40]], np.float32), np.array([3]), np.array([0]))
    odd = [replace(sample, outlines=line) for sample in dataset.samples]
    source = TrainingImages(replace(dataset, samples=Samples.of(odd)), 96, PLAIN, 0).source
    sample = LabelledImage(np.full((96, 96, 3), GREY, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    for seed in range(20):
        assert len(paste_in(sample, source, np.random.default_rng(seed)).boxes) == 0


def test_without_outlines_nothing_is_pasted(dataset):
    bare = Samples.of(replace(sample, outlines=None) for sample in dataset.samples)
    source = TrainingImages(replace(dataset, samples=bare), 64, PLAIN, 0).source
    sample = LabelledImage(np.full((64, 64, 3), GREY, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    result = paste_in(sample, source, np.random.default_rng(0))
    np.testing.assert_array_equal(result.image, sample.image)
    assert len(result.boxes) == 0
