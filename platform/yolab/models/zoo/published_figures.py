"""What is published of the models (paper, Tables 1 to 3): to stand beside what we count."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Published:
    """Parameters in millions and GFLOPs at a square `image_size`, and which graph they count: the deploy graph, folded,
    or the one that is trained."""

    params_millions: float
    gflops: float
    image_size: int = 640
    graph: Literal["deploy", "trained"] = "deploy"


PUBLISHED = {
    "yolov7-tiny": Published(6.2, 5.8, 416),
    "yolov7-tiny-silu": Published(6.2, 13.8),
    "yolov7": Published(36.9, 104.7),
    "yolov7x-light": Published(47.0, 125.5),
    "yolov7x": Published(71.3, 189.9),
    "yolov7-w6": Published(70.4, 360.0, 1280),
    "yolov7-e6": Published(97.2, 515.2, 1280),
    "yolov7-d6": Published(154.7, 806.8, 1280, "trained"),
    "yolov7-e6e": Published(151.7, 843.2, 1280),
    "yolor-csp": Published(52.9, 120.4),
    "yolor-csp-x": Published(96.9, 226.8),
    "yolor-p6": Published(37.2, 325.6, 1280),
    "yolor-w6": Published(79.8, 453.2, 1280),
    "yolor-e6": Published(115.8, 683.2, 1280),
    "yolor-d6": Published(151.7, 935.6, 1280),
    "yolov4-csp": Published(52.9, 120.4),
    "yolov4": Published(64.4, 142.8, graph="trained"),
    "yolor-u5": Published(46.5, 109.1),
    "yolov4-tiny": Published(6.1, 6.9, 416),
    "yolov4-tiny-3l": Published(8.7, 5.2, 320),
}
