"""Batches: every sample once, the same for any number of workers and processes; boxes that follow the pixels."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from yolab.data import augment
from yolab.data.augment import GREY, LabelledImage, augmented
from yolab.data.coco import Dataset, Sample
from yolab.data.loader import EpochBatches, EvaluationBatches, collate, read_image, training_loader
from yolab.experiment import Augment, build

TINY = build({"name": "x", "recipe": {"preset": "tiny"}}, {}, "test").data.augment
STRONG = TINY.model_copy(update={"mosaic": 0.7, "mosaic9": 0.5, "mixup": 0.0, "scale": 0.5, "hue": 0.0})
PLAIN = Augment(preset="none", **dict.fromkeys(set(Augment.model_fields) - {"preset"}, 0.0))


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
        samples.append(Sample(path, number, width, height, boxes, np.array([number % 3])))
    return Dataset(folder, "train", Path(), tuple(samples), (1, 2, 3), ("a", "b", "c"), (), {})


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_an_epoch_is_every_sample_once_over_all_workers_in_even_batches(workers):
    parts = []
    for rank in range(workers):
        sampler = EpochBatches(100, 16, seed=3, rank=rank, workers=workers)
        sampler.epoch = 5
        parts.append(list(sampler))
    seen = sorted(index for part in parts for batch in part for _, index in batch)
    assert seen == list(range(100))
    sizes = [sum(len(part[number]) for part in parts) for number in range(7)]
    assert max(sizes) - min(sizes) <= 1


def test_epochs_are_shuffled_differently_and_repeatably():
    sampler = EpochBatches(50, 8, seed=1)
    first = list(sampler)
    assert first == list(sampler)
    sampler.epoch = 2
    assert [[i for _, i in b] for b in first] != [[i for _, i in b] for b in sampler]


def test_samples_are_the_same_for_any_number_of_loader_processes(dataset):
    def batches(processes):
        loader, _ = training_loader(dataset, 64, TINY, 5, 7, processes)
        return list(loader)

    for (images, targets), (other_images, other_targets) in zip(batches(0), batches(2)):
        assert torch.equal(images, other_images)
        assert torch.equal(targets.boxes, other_targets.boxes)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_stay_around_their_objects_under_augmentation(dataset, seed):
    def read(index: int) -> LabelledImage:
        sample = dataset.samples[index]
        return LabelledImage(read_image(sample, 96), sample.boxes, sample.classes)

    result = augmented(seed % 12, read, 12, 96, STRONG, np.random.default_rng(seed))
    bright = result.image.max(2) > 180
    for left, top, right, bottom in result.boxes:
        inside = bright[round(top) : round(bottom), round(left) : round(right)]
        if inside.size > 100:
            assert inside.mean() > 0.85
    uncovered = bright.copy()
    for left, top, right, bottom in result.boxes:
        uncovered[max(0, int(top) - 2) : int(bottom) + 3, max(0, int(left) - 2) : int(right) + 3] = False
    assert uncovered.mean() < 0.06  # remnants too small to be labelled


def test_without_augmentation_an_image_is_only_letterboxed(dataset):
    sample = dataset.samples[1]
    read = lambda index: LabelledImage(read_image(sample, 96), sample.boxes, sample.classes)  # noqa: E731
    result = augmented(1, read, 12, 96, PLAIN, np.random.default_rng(0))
    assert result.image.shape == (96, 96, 3)
    np.testing.assert_array_equal(result.image[16:80], cv2.imread(str(sample.path)))
    np.testing.assert_array_equal(result.boxes, sample.boxes + np.array([0, 16, 0, 16], np.float32))


def test_flip_twice_is_the_image_itself(dataset):
    sample = LabelledImage(read_image(dataset.samples[0], 96), dataset.samples[0].boxes, dataset.samples[0].classes)
    twice = augment.flip(augment.flip(sample))
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_array_equal(twice.boxes, sample.boxes)


def test_a_batch_without_any_object_collates():
    empty = LabelledImage(np.zeros((32, 32, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    images, targets = collate([empty, empty])
    assert images.shape == (2, 3, 32, 32)
    assert targets.present.shape == (2, 0)


def test_large_images_are_decoded_at_reduced_scale_but_never_below_the_size_drawn(tmp_path):
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8))
    sample = Sample(path, 0, 640, 480, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    for size in (640, 400, 320, 100, 64):
        assert max(read_image(sample, size).shape) == size


def test_evaluation_batches_are_padded_to_the_stride_with_a_margin_and_lead_back_to_the_image(dataset):
    batches = EvaluationBatches(list(dataset.samples), 96, 6, 32)
    first = batches[0]
    assert first.images.shape == (6, 3, 96, 128)  # wide ones first; 64 + half a stride, 96 + half a stride
    sample, margin, scale = first.samples[0], first.margins[0], first.scales[0]
    pixel = np.argwhere(first.images[0, 0].numpy() > 200).min(0)[::-1]
    found = (torch.tensor(pixel.copy()) - margin) / scale
    assert found.tolist() == pytest.approx(sample.boxes[0, :2].tolist(), abs=1)
