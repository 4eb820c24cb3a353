"""How long a detector takes for an image, without suppression: the model alone, batch 1 (paper, Table 2's protocol on
the device at hand)."""

import time

import torch

from yolab.models.detector import Detector
from yolab.models.onnx_file import OnnxDetector


@torch.inference_mode()
def seconds_an_image(model: Detector | OnnxDetector, image_size: int, repeats: int = 10) -> float:
    """Return the least of several measurements after one to warm up; image_size in pixels, square."""
    model.eval()
    images = torch.rand(1, 3, image_size, image_size).to(model.device)
    least = float("inf")
    for repeat in range(repeats + 1):
        _wait_for(model.device)
        started = time.perf_counter()
        model.predict(images)
        _wait_for(model.device)
        if repeat:
            least = min(least, time.perf_counter() - started)
    return least


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
