"""Batches for training and evaluation. What a sample looks like depends on (seed, epoch, its index) alone, so it is
the same for any number of workers and loader processes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from yolab.assignment.candidates import Targets
from yolab.data.augment import LabelledImage, augmented, pad_to
from yolab.data.coco import Dataset, Sample
from yolab.errors import YolabError
from yolab.experiment import Augment

_CACHE_BYTES = 1 << 30  # decoded images kept by a process
_REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def read_image(sample: Sample, size: int) -> np.ndarray:
    """Return the image, BGR, its long side resized to `size` pixels, decoded at reduced scale where that suffices."""
    long_side = max(sample.width, sample.height)
    flag = next((flag for factor, flag in _REDUCED if long_side >= factor * size), cv2.IMREAD_COLOR)
    image = cv2.imread(str(sample.path), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise YolabError(f"Can't decode {sample.path}. `yolab data verify` finds all such images.")
    columns, rows = (max(1, round(side * size / long_side)) for side in (sample.width, sample.height))
    if image.shape[:2] == (rows, columns):
        return image
    shrinks = columns < image.shape[1]
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


class EpochBatches(Sampler):
    """Batches of (epoch, index) in a new order each epoch; together they are every sample once.

    An epoch is cut into ⌈samples / batch⌉ batches of equal size, to within one, so that no step is made of a small
    rest. With several workers each takes every workers-th sample of each batch.
    """

    def __init__(self, samples: int, batch: int, seed: int, rank: int = 0, workers: int = 1) -> None:
        self.samples, self.batches = samples, math.ceil(samples / batch)
        self.seed, self.rank, self.workers = seed, rank, workers
        self.epoch = 1

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.samples)
        for batch in np.array_split(order, self.batches):
            yield [(self.epoch, int(index)) for index in batch[self.rank :: self.workers]]


class TrainingImages(TorchDataset):
    """Augmented samples by (epoch, index)."""

    def __init__(self, dataset: Dataset, size: int, augment: Augment, seed: int) -> None:
        self.dataset, self.size, self.augment, self.seed = dataset, size, augment, seed
        self._cache: dict[int, np.ndarray] = {}
        self._cached_bytes = 0

    def __getitem__(self, key: tuple[int, int]) -> LabelledImage:
        epoch, index = key
        random = np.random.default_rng([self.seed, epoch, index])
        return augmented(index, self._read, len(self.dataset.samples), self.size, self.augment, random)

    def _read(self, index: int) -> LabelledImage:
        sample = self.dataset.samples[index]
        image = self._cache.get(index)
        if image is None:
            image = read_image(sample, self.size)
            if self._cached_bytes + image.nbytes <= _CACHE_BYTES:
                self._cache[index] = image
                self._cached_bytes += image.nbytes
        scale = np.array([image.shape[1] / sample.width, image.shape[0] / sample.height] * 2, dtype=np.float32)
        return LabelledImage(image, sample.boxes * scale, sample.classes)


def collate(samples: list[LabelledImage]) -> tuple[Tensor, Targets]:
    """Return images (images, 3, rows, columns) uint8 RGB, and their padded targets."""
    images = torch.from_numpy(np.stack([to_planes(sample.image) for sample in samples]))
    most = max(len(sample.boxes) for sample in samples)
    boxes = torch.ones(len(samples), most, 4)
    classes = torch.zeros(len(samples), most, dtype=torch.int64)
    present = torch.zeros(len(samples), most, dtype=torch.bool)
    for row, sample in enumerate(samples):
        count = len(sample.boxes)
        low, high = sample.boxes[:, :2], sample.boxes[:, 2:]
        boxes[row, :count] = torch.from_numpy(np.concatenate([(low + high) / 2, high - low], 1))
        classes[row, :count] = torch.from_numpy(sample.classes)
        present[row, :count] = True
    return images, Targets(boxes, classes, present)


def to_planes(image: np.ndarray) -> np.ndarray:
    """Return (3, rows, columns) RGB of (rows, columns, 3) BGR."""
    return np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))


def training_loader(
    dataset: Dataset,
    size: int,
    augment: Augment,
    batch: int,
    seed: int,
    processes: int,
    rank: int = 0,
    workers: int = 1,
) -> tuple[DataLoader, EpochBatches]:
    """Return the loader of (images, Targets) and its sampler, whose `epoch` the caller sets before each epoch."""
    sampler = EpochBatches(len(dataset.samples), batch, seed, rank, workers)
    loader: DataLoader = DataLoader(
        TrainingImages(dataset, size, augment, seed),
        batch_sampler=sampler,
        num_workers=processes,
        collate_fn=collate,
        persistent_workers=processes > 0,
        pin_memory=torch.cuda.is_available(),
    )
    return loader, sampler


@dataclass(frozen=True)
class EvaluationBatch:
    """images (images, 3, rows, columns) uint8 RGB, padded; for each its sample, and how to return to its pixels:
    (x − margin) / scale, margins (images, 2) left and top, scales (images, 2)."""

    images: Tensor
    samples: list[Sample]
    margins: Tensor
    scales: Tensor


class EvaluationBatches(TorchDataset):
    """Unaugmented batches of similar aspect: sorted by it, padded to a multiple of `stride` that holds all."""

    def __init__(self, samples: list[Sample], size: int, batch: int, stride: int) -> None:
        self.size, self.stride = size, stride
        by_aspect = sorted(samples, key=lambda sample: (sample.height / sample.width, sample.image_id))
        self.batches = [by_aspect[start : start + batch] for start in range(0, len(by_aspect), batch)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> EvaluationBatch:
        samples = self.batches[index]
        images = [read_image(sample, self.size) for sample in samples]
        rows, columns = (self._padded(max(image.shape[axis] for image in images)) for axis in (0, 1))
        padded = [pad_to(image, rows, columns) for image in images]
        sizes = [(image.shape[1] / s.width, image.shape[0] / s.height) for image, s in zip(images, samples)]
        return EvaluationBatch(
            torch.from_numpy(np.stack([to_planes(image) for image, _, _ in padded])),
            samples,
            torch.tensor([[left, top] for _, left, top in padded], dtype=torch.float32),
            torch.tensor(sizes, dtype=torch.float32),
        )

    def _padded(self, side: int) -> int:
        """Return ⌈side / stride + 0.5⌉ strides: always some margin, so that 640 becomes 672."""
        return math.ceil(side / self.stride + 0.5) * self.stride


def evaluation_loader(samples: list[Sample], size: int, batch: int, stride: int, processes: int) -> DataLoader:
    """Return the loader of EvaluationBatch; each item is a batch already."""
    return DataLoader(
        EvaluationBatches(samples, size, batch, stride),
        batch_size=None,
        num_workers=processes,
        pin_memory=False,
    )
