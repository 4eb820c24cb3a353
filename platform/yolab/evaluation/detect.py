"""From a model's predictions to detections in the pixels of the original images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert

from yolab.data.loader import EvaluationBatch, evaluation_loader
from yolab.data.samples import Sample
from yolab.models.blueprint import check_size
from yolab.models.detector import Detector
from yolab.models.onnx_file import OnnxDetector

_MOST_BEFORE = 30_000
_MOST = 300


@dataclass(frozen=True)
class ImageDetections:
    """What was found in one image: boxes (n, 4) x1 y1 x2 y2 in its pixels, scores (n,) falling, classes (n,) int64."""

    image_id: int
    boxes: Tensor
    scores: Tensor
    classes: Tensor


@torch.no_grad()
def detect(
    model: Detector | OnnxDetector,
    samples: Sequence[Sample],
    image_size: int,
    batch: int,
    *,
    confidence: float = 0.001,
    iou: float = 0.65,
    loader_processes: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ImageDetections]:
    """Return the detections in every image, on the model's device; the model is left in eval mode.

    image_size: the long side in pixels; images of similar aspect are batched and padded to the largest stride. Raises
    UsageError for a size that isn't a multiple of that stride.
    """
    check_size("The size", image_size, "this model", max(model.strides))
    model.eval()
    loader = evaluation_loader(list(samples), image_size, batch, max(model.strides), loader_processes)
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


def suppress(decoded: Tensor, confidence: float, iou: float) -> list[Tensor]:
    """Return for each image (n, 6): x1 y1 x2 y2, score, class, by falling score, after suppression class by class.

    decoded (images, predictions, 5 + classes) as from `Detector.decode`. A box may carry several classes.
    """
    results = []
    for predictions in decoded:
        predictions = predictions[predictions[:, 4] > confidence]
        scores = predictions[:, 5:] * predictions[:, 4:5]
        row, label = (scores > confidence).nonzero(as_tuple=True)
        score = scores[row, label]
        if len(score) > _MOST_BEFORE:
            score, best = score.topk(_MOST_BEFORE)
            row, label = row[best], label[best]
        boxes = box_convert(predictions[row, :4], "cxcywh", "xyxy")
        kept = batched_nms(boxes, score, label, iou)[:_MOST]
        results.append(torch.cat([boxes[kept], score[kept, None], label[kept, None].to(score.dtype)], 1))
    return results
