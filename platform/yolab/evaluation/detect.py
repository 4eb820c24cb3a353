"""From a model's predictions to detections in the pixels of the original images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from yolab.data.loader import EvaluationBatch, Padding, evaluation_loader
from yolab.data.samples import Sample
from yolab.models.blueprint import check_size
from yolab.models.detector import Detector
from yolab.models.suppression import IOU, SCORED_CONFIDENCE, suppress

if TYPE_CHECKING:  # a worker that trains needs no onnxruntime
    from yolab.models.onnx_file import OnnxDetector

_LEAST_SIDE = 0.1  # pixels, to which `predict` rounds


@dataclass(frozen=True)
class ImageDetections:
    """What was found in one image: boxes (n, 4) x1 y1 x2 y2 in its pixels, scores (n,) falling, classes (n,) int64."""

    image_id: int
    boxes: Tensor
    scores: Tensor
    classes: Tensor

    def with_area(self) -> "ImageDetections":
        """Return those with sides that can be drawn and written: clipped to the image, a box may be a line."""
        kept = (self.boxes[:, 2:] - self.boxes[:, :2] >= _LEAST_SIDE).all(1)
        return ImageDetections(self.image_id, self.boxes[kept], self.scores[kept], self.classes[kept])

    def relabelled(self, label_of: np.ndarray) -> "ImageDetections":
        """Return it with other numbers of the classes: `label_of` (classes,) has each one's, -1 to leave it out."""
        classes = torch.from_numpy(label_of)[self.classes]
        kept = classes >= 0
        return ImageDetections(self.image_id, self.boxes[kept], self.scores[kept], classes[kept])


@torch.no_grad()
def detect(
    model: "Detector | OnnxDetector",
    samples: Sequence[Sample],
    image_size: int,
    batch: int,
    *,
    confidence: float = SCORED_CONFIDENCE,
    iou: float = IOU,
    padding: Padding = "square",
    loader_processes: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ImageDetections]:
    """Return the detections in every image, on the model's device; the model is left in eval mode.

    image_size: the long side in pixels. padding: what becomes of the short one, as `EvaluationBatches` says. Raises
    UsageError for a size that isn't a multiple of the largest stride.
    """
    check_size("The size", image_size, "this model", max(model.strides))
    model.eval()
    loader = evaluation_loader(list(samples), image_size, batch, max(model.strides), loader_processes, padding)
    found = []
    loaded: EvaluationBatch
    for number, loaded in enumerate(loader, start=1):
        images = loaded.images.to(model.device, non_blocking=True).float() / 255
        decoded = model.predict(images.to(memory_format=torch.channels_last))
        for row, kept in enumerate(suppress(decoded, confidence, iou)):
            sample = loaded.samples[row]
            kept = kept.cpu()
            limits = torch.tensor([sample.width, sample.height] * 2)
            boxes = (kept[:, :4] - loaded.margins[row].repeat(2)) / loaded.scales[row].repeat(2)
            boxes = torch.minimum(boxes.clamp(min=0), limits)
            found.append(ImageDetections(sample.image_id, boxes, kept[:, 4], kept[:, 5].long()))
        progress(number, len(loader))
    return found
