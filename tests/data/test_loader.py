"""Batches: every sample once, the same for any number of workers and processes; boxes that follow the pixels."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yolab.data import augment, drawing
from yolab.data.augment import augmented
from yolab.data.coco import Dataset
from yolab.data.drawing import GREY, LabelledImage
from yolab.data.images import ImageFolder
from yolab.data.loader import (
    EpochBatches,
    EvaluationBatches,
    TrainingImages,
    collate,
    read_image,
    training_loader,
)
from yolab.data.samples import Sample, Samples, Truth
from yolab.experiment import Augment, Compute, build

TINY = build({"name": "x", "recipe": {"preset": "tiny"}, "data": {"image_size": 64}}, {}, "test").data
PLAIN = Augment(preset="none", **dict.fromkeys(set(Augment.model_fields) - {"preset", "extra"}, 0.0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Twelve grey images, each with a bright rectangle that is its only object."""
    folder = tmp_path_factory.mktemp("set")
    random = np.random.default_rng(0)
    samples = []
    for number in range(12):
        width, height = (96, 64) if number % 2 else (64, 96)
        left, top = random.integers(4, 24, 2)
        image = np.full((height, width, 3), GREY, np.uint8)
        image[top : top + 30, left : left + 24] = 255
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), image)
        boxes = np.array([[left, top, left + 24, top + 30]], np.float32)
        samples.append(
            Sample(ImageFolder(path.parent), path.name, number, width, height, boxes, np.array([number % 3]))
        )
    return Dataset(folder, "train", Samples.of(samples), (1, 2, 3), ("a", "b", "c"), Truth.of([]), {})


def source_of(dataset: Dataset, size: int):
    return TrainingImages(dataset, size, PLAIN, 0).source


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_an_epoch_is_every_sample_once_over_all_workers_in_even_batches(workers):
    parts = []
    for rank in range(workers):
        sampler = EpochBatches(np.ones(100), 16, seed=3, held=[rank], shards=workers)
        sampler.epoch = 5
        parts.append(list(sampler))
    seen = sorted(index for part in parts for batch in part for _, index, _ in batch)
    assert seen == list(range(100))
    sizes = [sum(len(part[number]) for part in parts) for number in range(7)]
    assert max(sizes) - min(sizes) <= 1


def test_epochs_are_shuffled_differently_and_repeatably():
    sampler = EpochBatches(np.ones(50), 8, seed=1)
    first = list(sampler)
    assert first == list(sampler)
    sampler.epoch = 2
    assert [[i for _, i, _ in b] for b in first] != [[i for _, i, _ in b] for b in sampler]


def test_repeated_samples_come_as_often_as_they_should_over_epochs_and_differ_within_one():
    repeats = np.array([1.0] * 8 + [2.5, 1.25])
    sampler = EpochBatches(repeats, 4, seed=1)
    seen = np.zeros(10)
    for epoch in range(1, 201):
        sampler.epoch = epoch
        keys = [key for batch in sampler for key in batch]
        assert len(keys) == len(set(keys)) == sampler.samples == 12
        seen += np.bincount([index for _, index, _ in keys], minlength=10)
    np.testing.assert_allclose(seen / 200, repeats * 12 / repeats.sum(), atol=0.06)


def test_samples_are_the_same_for_any_number_of_loader_processes(dataset):
    cv2.setNumThreads(4)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 0)  # starts OpenCV's threads, which a fork loses

    def batches(processes):
        loader, _ = training_loader(dataset, TINY, 1, 5, 7, Compute(loader_processes=processes))
        return list(loader)

    for (images, targets), (other_images, other_targets) in zip(batches(0), batches(2)):
        assert torch.equal(images, other_images)
        assert torch.equal(targets.boxes, other_targets.boxes)


def bright_boxes(image: np.ndarray, least_filled: float = 0.0) -> np.ndarray:
    """The boxes around what is bright, x1 y1 x2 y2, and fills so much of its box."""
    _, _, found, _ = cv2.connectedComponentsWithStats((image.max(2) > 184).astype(np.uint8))
    left, top, width, height, pixels = found[1:].T
    boxes = np.stack([left, top, left + width, top + height], 1)
    return boxes[pixels > least_filled * width * height]


def is_whole(box: np.ndarray, size: int) -> bool:
    return box.min() > 1 and box.max() < size - 1


@settings(max_examples=100, deadline=None)
@example(seed=60, mosaic=0.5, scale=0.0, translate=0.0, rotate=0.0, shear=0.0, perspective=0.0)
@given(
    seed=st.integers(0, 10**6),
    mosaic=st.sampled_from([0.0, 0.5, 1.0]),
    scale=st.floats(0, 0.9),
    translate=st.floats(0, 0.3),
    rotate=st.sampled_from([0.0, 180.0]),
    shear=st.sampled_from([0.0, 20.0]),
    perspective=st.sampled_from([0.0, 0.0008]),
)
def test_boxes_are_exact_under_every_transform(dataset, seed, mosaic, **ranges):
    """Each box is that of the pixels, to one and a half: a rectangle that is whole in the result has a box around it,
    and a box that is whole has its rectangle."""
    augment = PLAIN.model_copy(update={"mosaic": mosaic, "mosaic9": 0.5, "flip": 0.5, "vertical_flip": 0.5, **ranges})
    size = 128
    result = augmented(seed % 12, source_of(dataset, size), size, augment, np.random.default_rng(seed))
    truth = bright_boxes(result.image, least_filled=0.35)  # less is a strip of an object, too little to be labelled
    for box in result.boxes[[is_whole(box, size) for box in result.boxes]]:
        inner = result.image[round(box[1]) : round(box[3]), round(box[0]) : round(box[2])]
        if min(inner.shape[:2]) < 6:
            continue
        found = bright_boxes(inner)  # may be cut by the border of its tile, or touch a neighbour
        around = np.concatenate([found[:, :2].min(0), found[:, 2:].max(0)])
        assert around[:2].max() <= 2.5
        assert (np.array(inner.shape[1::-1]) - around[2:]).max() <= 2.5
    for left, top, right, bottom in truth:
        if min(right - left, bottom - top) > 8 and is_whole(np.array([left, top, right, bottom]), size):
            low = result.boxes[:, :2] - 2.5 <= (left, top)
            high = result.boxes[:, 2:] + 2.5 >= (right, bottom)
            assert (low.all(1) & high.all(1)).any()


def test_without_augmentation_an_image_is_only_letterboxed(dataset):
    sample = dataset.samples[1]
    result = augmented(1, source_of(dataset, 96), 96, PLAIN, np.random.default_rng(0))
    assert result.image.shape == (96, 96, 3)
    np.testing.assert_array_equal(result.image[16:80], cv2.imread(str(sample.path)))
    np.testing.assert_array_equal(result.boxes, sample.boxes + np.array([0, 16, 0, 16], np.float32))


def test_the_end_of_a_run_goes_without_mosaic(dataset):
    images = TrainingImages(dataset, 96, PLAIN.model_copy(update={"mosaic": 1.0, "mixup": 1.0}), 0, mosaic_until=2)
    alone = TrainingImages(dataset, 96, PLAIN, 0)
    assert not np.array_equal(images[2, 1, 0].image, alone[2, 1, 0].image)
    np.testing.assert_array_equal(images[3, 1, 0].image, alone[3, 1, 0].image)


@pytest.mark.parametrize("vertically", [False, True])
def test_flip_twice_is_the_image_itself(dataset, vertically):
    sample = LabelledImage(read_image(dataset.samples[0], 96), dataset.samples[0].boxes, dataset.samples[0].classes)
    once = augment.flip(sample, vertically)
    assert not np.array_equal(once.image, sample.image)
    twice = augment.flip(once, vertically)
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_array_equal(twice.boxes, sample.boxes)


def test_tiles_are_decoded_no_larger_than_drawn_and_those_out_of_sight_not_at_all(tmp_path):
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8))
    sample = Sample(
        ImageFolder(path.parent), path.name, 0, 640, 480, np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    )
    source = source_of(Dataset(tmp_path, "train", Samples.of([sample]), (1,), ("a",), Truth.of([]), {}), 320)
    asked = []
    whole = drawing.Place(0, 0, (0, 0, 320, 320))
    pixels = source.pixels
    source.pixels = lambda index, scale: asked.append((scale, pixels(index, scale).shape[1])) or pixels(index, scale)
    for scale, width in ((0.2, 80), (0.5, 160), (0.6, 320), (1.0, 320), (1.5, 640)):
        drawing.draw(source, [0], [whole], 320, np.diag([scale, scale, 1.0]))
        assert asked.pop() == (pytest.approx(scale), width)
    drawing.draw(source, [0], [whole], 320, np.array([[1.0, 0, 400], [0, 1, 0], [0, 0, 1]]))
    assert not asked


def test_a_batch_without_any_object_collates():
    empty = LabelledImage(np.zeros((32, 32, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    images, targets = collate([empty, empty])
    assert images.shape == (2, 3, 32, 32)
    assert targets.present.shape == (2, 0)


def test_large_images_are_decoded_at_reduced_scale_but_never_below_the_size_drawn(tmp_path):
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8))
    sample = Sample(
        ImageFolder(path.parent), path.name, 0, 640, 480, np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    )
    for size in (640, 400, 320, 100, 64):
        assert max(read_image(sample, size).shape) == size


@pytest.mark.parametrize(
    ("padding", "shape"),
    [("square", (96, 96)), ("rectangle", (96, 128))],  # 64 + half a stride, 96 + half a stride
)
def test_padding_is_that_of_the_image_and_leads_back_to_it(dataset, padding, shape):
    wide = next(sample for sample in dataset.samples if sample.width > sample.height)
    for batch in (1, 5, 12):
        batches = EvaluationBatches(list(dataset.samples), 96, batch, 32, padding)
        loaded = [batches[number] for number in range(len(batches))]
        assert sorted(s.image_id for each in loaded for s in each.samples) == list(range(12))
        places = [(each, row) for each in loaded for row in range(len(each.samples))]
        own, row = next(place for place in places if place[0].samples[place[1]].image_id == wide.image_id)
        assert own.images.shape[2:] == shape
        pixel = np.argwhere(own.images[row, 0].numpy() > 200).min(0)[::-1]
        found = (torch.tensor(pixel.copy()) - own.margins[row]) / own.scales[row]
        assert found.tolist() == pytest.approx(wide.boxes[0, :2].tolist(), abs=1)


@pytest.mark.parametrize(
    ("width", "height", "size", "shape"),
    [
        (640, 427, 320, (213, 320)),
        (500, 333, 640, (426, 640)),
        (3000, 2, 64, (1, 64)),
        (77, 154, 640, (640, 320)),
        (2, 3000, 64, (64, 1)),
        (3000, 1, 64, (1, 64)),
    ],
)
def test_the_short_side_is_cut_to_whole_pixels(tmp_path, width, height, size, shape):
    cv2.imwrite(str(tmp_path / "image.png"), np.full((height, width, 3), 200, np.uint8))
    sample = Sample(ImageFolder(tmp_path), "image.png", 0, width, height, np.zeros((0, 4)), np.zeros(0, np.int64))
    assert read_image(sample, size).shape[:2] == shape
