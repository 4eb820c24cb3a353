"""How long a detector takes for an image, without suppression: the folded model alone, batch 1 (paper, Table 2's
protocol on the device at hand)."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import torch

from yolab.models.detector import Detector
from yolab.models.device import choose_device
from yolab.models.fold import fold
from yolab.models.spec import DetectorSpec

if TYPE_CHECKING:  # a trial that measures its latency needs no onnxruntime
    from yolab.models.onnx_file import OnnxDetector


def seconds_of(spec: DetectorSpec, repeats: int = 10) -> float:
    """Return what a detector takes for an image of its size, folded, on the device that this process has."""
    return seconds_an_image(fold(spec.build()).to(choose_device()), spec.image_size, repeats)


@torch.inference_mode()
def seconds_an_image(model: "Detector | OnnxDetector", image_size: int, repeats: int = 10) -> float:
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


@contextlib.contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Let torch and OpenCV compute on so many CPU threads meanwhile."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
