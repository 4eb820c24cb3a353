"""Samples put together: what a training step takes."""

from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from yolab.data.drawing import LabelledImage


@dataclass(frozen=True)
class Targets:
    """The objects of a batch, padded to the same number for each image.

    boxes (images, objects, 4): centre x, centre y, width, height in pixels of the input; classes (images, objects)
    int64; present (images, objects) bool, False for padding.
    """

    boxes: Tensor
    classes: Tensor
    present: Tensor

    def to(self, device: torch.device) -> "Targets":
        return on_device(self, device)


def on_device(group: Any, device: torch.device) -> Any:
    """Return a dataclass with its tensors on a device."""
    values = {spec.name: getattr(group, spec.name) for spec in fields(group)}
    sent = {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in values.items()}
    return type(group)(**sent)


def collate(samples: list[LabelledImage]) -> tuple[Tensor, Targets]:
    """Return images (images, 3, rows, columns) uint8 RGB, in channels-last memory, and their padded targets."""
    images = to_batch([sample.image for sample in samples])
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


def to_batch(images: list[np.ndarray]) -> Tensor:
    """Return (images, 3, rows, columns) RGB, in channels-last memory, of (rows, columns, 3) BGR images of one size."""
    batch = np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images])
    return torch.from_numpy(batch).permute(0, 3, 1, 2)
