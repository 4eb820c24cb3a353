"""Batches for training and evaluation. What a sample looks like depends on (seed, epoch, its index) alone, so it is
the same for any number of workers and loader processes."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from yolab.data.augment import augmented
from yolab.data.batch import collate, to_batch
from yolab.data.coco import Dataset
from yolab.data.combined import repeat_factors
from yolab.data.drawing import LabelledImage, Labels, pad_to
from yolab.data.images import decode
from yolab.data.loader_processes import Loader
from yolab.data.samples import Sample
from yolab.errors import YolabError
from yolab.experiment import Augment, Compute, Data


def decoded(sample: Sample, at_least: float = math.inf) -> np.ndarray:
    """Return the image, BGR, at the smallest scale that leaves its long side `at_least` pixels, or as it is.

    Raises YolabError if it can't be read or decoded.
    """
    try:
        image = decode(sample.images.read(sample.file_name), _reduction(sample, at_least), sample.images.upright)
    except OSError as error:
        raise YolabError(f"Can't read {sample.path}: {error}.") from error
    if image is None:
        raise YolabError(f"Can't decode {sample.path}. `yolab data verify` finds all such images.")
    return image


def _reduction(sample: Sample, at_least: float) -> int:
    """Return by what its sides can be divided in decoding without the long one falling below `at_least` pixels, or the
    short one below one."""
    short, long = sorted((sample.width, sample.height))
    return next((factor for factor in (8, 4, 2) if long >= factor * at_least and short >= factor), 1)


def resized_shape(sample: Sample, size: int) -> tuple[int, int]:
    """Return (rows, columns) of an image whose long side becomes `size` pixels; the short one is cut to whole pixels,
    as in the published code."""
    long_side = max(sample.width, sample.height)
    rows, columns = (max(1, side * size // long_side) for side in (sample.height, sample.width))
    return rows, columns


def read_image(sample: Sample, size: int) -> np.ndarray:
    """Return the image, BGR, its long side resized to `size` pixels."""
    image, shape = decoded(sample, size), resized_shape(sample, size)
    if image.shape[:2] == shape:
        return image
    shrinks = shape[1] < image.shape[1]
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def batches_an_epoch(samples: int, batch: int) -> int:
    """Return how many batches an epoch of so many samples is cut into, of at most `batch` each."""
    return math.ceil(samples / batch)


Key = tuple[int, int, int]  # epoch, index of the sample, which of its copies in this epoch


class EpochBatches(Sampler):
    """Batches of keys in a new order each epoch; together they are every sample once, or as often as `repeats`
    (samples,) says: the fractions of it go to some samples in one epoch and to others in the next.

    An epoch is cut into ⌈samples / batch⌉ batches of equal size, to within one, so that no step is made of a small
    rest. Of each it yields the shards that are `held`, one after the other: the n-th has the n-th sample of so many
    `shards`, and so on.
    """

    def __init__(self, repeats: np.ndarray, batch: int, seed: int, held: Sequence[int] = (0,), shards: int = 1) -> None:
        self.samples = round(repeats.sum())
        self.repeats = repeats * (self.samples / repeats.sum())
        self.batches = batches_an_epoch(self.samples, batch)
        self.seed, self.held, self.shards = seed, held, shards
        self.epoch = 1
        self.done = 0  # batches of the epoch that are not wanted again

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self.whole_batches()[self.done :]:
            yield from (batch[shard :: self.shards] for shard in self.held)

    def whole_batches(self) -> list[list[Key]]:
        """Return the batches of the epoch over all shards."""
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(self.samples)
        # the n-th copy belongs to the sample in whose stretch of the line of repeats n falls
        ends = self.repeats.cumsum() + (random.random() if (self.repeats % 1).any() else 0.0)
        index = np.searchsorted(np.floor(ends + 1e-9), np.arange(self.samples), side="right")
        index = index.clip(max=len(self.repeats) - 1)
        copy = np.arange(self.samples) - np.searchsorted(index, index)
        keys = [(self.epoch, int(index[n]), int(copy[n])) for n in order]
        starts = np.linspace(0, self.samples, self.batches + 1).round().astype(int)
        return [keys[start:end] for start, end in itertools.pairwise(starts)]


def samples_an_epoch(dataset: Dataset, repeat_threshold: float) -> int:
    return round(repeat_factors(dataset, repeat_threshold).sum())


class TrainingImages(TorchDataset):
    """Augmented samples. After `mosaic_until` epochs they go without mosaic, mixup and paste-in."""

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        augment: Augment,
        seed: int,
        mosaic_until: float = math.inf,
        keep_bytes: int = 1 << 30,
    ) -> None:
        self.source = _Source(dataset, size, keep_bytes)
        self.size, self.augment, self.seed = size, augment, seed
        self.mosaic_until = mosaic_until

    def __getitem__(self, key: Key) -> LabelledImage:
        epoch, index, _ = key
        random = np.random.default_rng([self.seed, *key])
        augment = self.augment
        if epoch > self.mosaic_until:
            augment = augment.model_copy(update={"mosaic": 0.0, "paste_in": 0.0})
        return augmented(index, self.source, self.size, augment, random)


class _Source:
    """The images of a data set, up to `keep_bytes` of them kept decoded."""

    def __init__(self, dataset: Dataset, size: int, keep_bytes: int) -> None:
        self.samples, self.size = dataset.samples, size
        self._labels: dict[int, Labels] = {}
        self._kept: dict[tuple[int, int], np.ndarray] = {}
        self._kept_bytes, self._keep_bytes = 0, keep_bytes

    def __len__(self) -> int:
        return len(self.samples)

    def labels(self, index: int) -> Labels:
        labels = self._labels.get(index)
        if labels is None:
            sample = self.samples[index]
            rows, columns = resized_shape(sample, self.size)
            scale = np.array([columns / sample.width, rows / sample.height] * 2, dtype=np.float32)
            outlines = sample.outlines.scaled(scale[:2]) if sample.outlines else None
            labels = self._labels[index] = Labels(rows, columns, sample.boxes * scale, sample.classes, outlines)
        return labels

    def pixels(self, index: int, scale: float) -> np.ndarray:
        sample, at_least = self.samples[index], scale * self.size
        reduction = _reduction(sample, at_least)
        image = self._kept.get((index, reduction))
        if image is None:
            image = decoded(sample, at_least)
            if self._kept_bytes + image.nbytes <= self._keep_bytes:
                self._kept[index, reduction] = image
                self._kept_bytes += image.nbytes
        return image


def training_loader(
    dataset: Dataset,
    data: Data,
    epochs: int,
    batch: int,
    seed: int,
    compute: Compute,
    held: Sequence[int] = (0,),
    shards: int = 1,
) -> tuple[Loader, EpochBatches]:
    """Return the loader of (images, Targets), of the shards that are held of so many, and its sampler, whose `epoch`
    and `done` the caller sets before each epoch."""
    processes, keep_bytes = compute.loader_processes, round(compute.image_cache_gib * 2**30)
    repeats = repeat_factors(dataset, data.repeat_threshold)
    sampler = EpochBatches(repeats, batch, seed, held, shards)
    mosaic_until = epochs * (1 - data.augment.close_mosaic)
    loader = Loader(
        TrainingImages(dataset, data.image_size, data.augment, seed, mosaic_until, keep_bytes),
        processes,
        batch_sampler=sampler,
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


Padding = Literal["square", "rectangle"]


class EvaluationBatches(TorchDataset):
    """Unaugmented batches of images that are padded to the same shape, which depends on the image alone, never on the
    others of its batch: `size` × `size`; as a rectangle the least multiples of `stride` that leave a margin."""

    def __init__(self, samples: list[Sample], size: int, batch: int, stride: int, padding: Padding = "square") -> None:
        self.size, self.stride, self.padding = size, stride, padding
        alike: dict[tuple[int, int], list[Sample]] = {}
        for sample in samples:
            alike.setdefault(self._padded_shape(sample), []).append(sample)
        self.batches = [
            group[start : start + batch] for group in alike.values() for start in range(0, len(group), batch)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> EvaluationBatch:
        samples = self.batches[index]
        images = [read_image(sample, self.size) for sample in samples]
        padded = [pad_to(image, *self._padded_shape(sample)) for image, sample in zip(images, samples)]
        sizes = [(image.shape[1] / s.width, image.shape[0] / s.height) for image, s in zip(images, samples)]
        return EvaluationBatch(
            to_batch([image for image, _, _ in padded]),
            samples,
            torch.tensor([[left, top] for _, left, top in padded], dtype=torch.float32),
            torch.tensor(sizes, dtype=torch.float32),
        )

    def _padded_shape(self, sample: Sample) -> tuple[int, int]:
        """Return (rows, columns); a rectangle's are ⌈side / stride + 0.5⌉ strides, so that 640 becomes 672."""
        if self.padding == "square":
            return self.size, self.size
        rows, columns = (math.ceil(side / self.stride + 0.5) * self.stride for side in resized_shape(sample, self.size))
        return rows, columns


def evaluation_loader(
    samples: list[Sample], size: int, batch: int, stride: int, processes: int, padding: Padding
) -> Loader:
    """Return the loader of EvaluationBatch; each item is a batch already."""
    return Loader(EvaluationBatches(samples, size, batch, stride, padding), processes, batch_size=None)
