"""What `yolab bench` measures of the parts: rows with a `case` each, and its least seconds, or images a second."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import coco as peer
from pycocotools import cocoeval

from yolab.assignment import policies
from yolab.data import coco
from yolab.data.batch import Targets
from yolab.data.coco import Dataset
from yolab.data.images import ImageFolder
from yolab.data.loader import TrainingImages
from yolab.data.samples import Sample, Samples, Truth
from yolab.evaluation import metrics, significance
from yolab.evaluation.detect import ImageDetections
from yolab.evaluation.latency import on_threads, seconds_an_image
from yolab.experiment import Assigner, Model, build
from yolab.memory import keep_freed_memory
from yolab.models import onnx_file, zoo
from yolab.models.blueprint import check_size
from yolab.models.fold import fold
from yolab.models.spec import DetectorSpec
from yolab.models.suppression import SCORED_CONFIDENCE, suppress

Rows = list[dict[str, Any]]
CLASSES = tuple(f"class {number}" for number in range(80))


def alone(benchmark: Callable[[], Rows], threads: int) -> Rows:
    """Return what a benchmark measures on so many CPU threads; what its libraries print goes nowhere."""
    with on_threads(threads), contextlib.redirect_stdout(io.StringIO()):
        return benchmark()


def assignment() -> Rows:
    """The assigner on a whole batch: 32 × 30 objects for one head, 16 × 30 for both heads of a 1280 model, at 640."""
    keep_freed_memory()
    rows = []
    for model, images, assigner in (
        ("yolov7-tiny", 32, Assigner(policy="lead")),
        ("yolov7-w6", 16, Assigner(policy="coarse_to_fine", top_k=20)),
    ):
        anchors = torch.tensor(zoo.find(model).anchors)
        strides = (8, 16, 32, 64)[: len(anchors)]
        heads = 2 if policies.needs_auxiliary(assigner) else 1
        # in the memory layout that a head over channels-last features gives
        levels = [torch.randn(images, 640 // s, 640 // s, 3, 85).permute(0, 3, 1, 2, 4) for s in strides * heads]
        lead, auxiliary = levels[: len(strides)], levels[len(strides) :]
        targets = made_up_targets(images, 30, 640)
        assign = lambda: policies.assign(lead, auxiliary, targets, anchors, strides, assigner)  # noqa: B023, E731
        rows.append(
            {"case": f"{model}, {assigner.policy}, {images} × 30 objects", "seconds": least_seconds(assign, 10)}
        )
    return rows


def loader(data: Path, split: str) -> Rows:
    """Training images with mosaic, mixup and affine, one after the other, at 640 and 320 px: each first decoded anew,
    then from the decoded ones that a process keeps (up to 1 GiB)."""
    keep_freed_memory()
    dataset = coco.load(data, split)
    augment = build({"name": "bench"}, {}, "bench").data.augment
    rows = []
    for size in (640, 320):
        images = TrainingImages(dataset, size, augment, seed=0)
        for index in range(8):
            images[1, index % len(dataset.samples), 0]
        anew = TrainingImages(dataset, size, augment, seed=0, keep_bytes=0)
        for case, each in (("decoded anew", anew), ("kept", images)):
            if each is images:
                for index in range(len(dataset.samples)):
                    for scale in (0.1, 0.2, 0.4, 1.0):
                        each.source.pixels(index, scale)
            started, count = time.perf_counter(), 128
            for index in range(count):
                each[1, index % len(dataset.samples), 0]
            speed = count / (time.perf_counter() - started)
            rows.append({"case": f"{size} px, {case}", "images_per_second": speed})
    return rows


def nms() -> Rows:
    """Suppression of 8 crowded images: 25200 predictions each, confidence 0.001, 30 000 kept before."""
    torch.manual_seed(0)
    decoded = torch.rand(8, 25200, 85)
    decoded[..., :2] *= 640
    decoded[..., 2:4] *= 200
    decoded[..., 4] **= 6
    decoded[..., 5:] **= 8
    return [{"case": "8 × 25200", "seconds": least_seconds(lambda: suppress(decoded, SCORED_CONFIDENCE), 3)}]


def coco_metrics() -> Rows:
    """COCO's metrics of 22 500 detections in 75 images, of 80 classes, and pycocotools' time."""
    dataset, detections = _crowded(75, 300)
    rows = [{"case": "yolab", "seconds": least_seconds(lambda: metrics.score(dataset, detections), 3)}]
    results = metrics.to_coco(dataset, detections)

    def theirs() -> None:
        truth = peer.COCO()
        truth.dataset = dataset.ground_truth() | {"info": {}}
        truth.createIndex()
        evaluation = cocoeval.COCOeval(truth, truth.loadRes([dict(row) for row in results]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()

    return [*rows, {"case": "pycocotools", "seconds": least_seconds(theirs, 3)}]


def comparison(images: int) -> Rows:
    """What `yolab compare` does with two models of 100 detections an image: match them to objects, then resample."""
    dataset, first = _crowded(images, 100)
    second = [
        ImageDetections(each.image_id, each.boxes, each.scores.flip(0), each.classes) for each in first
    ]  # as good boxes, in another order
    started = time.perf_counter()
    first_matches, second_matches = significance.match(dataset, first), significance.match(dataset, second)
    matched = time.perf_counter()
    significance.of_weights(first_matches, second_matches)
    ended = time.perf_counter()
    return [
        {"case": f"{images} images, matching two models", "seconds": matched - started},
        {"case": f"{images} images, 1000 resamples", "seconds": ended - matched},
    ]


def inference(name: str, sizes: Sequence[int]) -> Rows:
    """A folded model on one image, without suppression, by torch and by onnxruntime."""
    about = DetectorSpec(Model(name=name), CLASSES, 640)
    trained = about.build()
    folded = fold(trained)
    for size in sizes:
        check_size("--size", size, name, max(folded.strides))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        onnx_file.export(trained, about, file, {}, nms=False)
        models: dict[str, Any] = {"torch": folded, "onnxruntime": onnx_file.OnnxDetector(file)}
        return [
            {"case": f"{name}, {size} px, {runtime}", "seconds": seconds_an_image(each, size)}
            for size in sizes
            for runtime, each in models.items()
        ]


def made_up_targets(images: int, objects: int, size: int) -> Targets:
    """Return so many objects in each of so many images of a size in pixels."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(images, objects, 2, generator=generator) * 0.8 + 0.1
    sides = torch.rand(images, objects, 2, generator=generator) * 0.3 + 0.03
    classes = torch.randint(0, 80, (images, objects), generator=generator)
    return Targets(torch.cat([centres, sides], 2) * size, classes, torch.ones(images, objects, dtype=torch.bool))


def _crowded(images: int, found: int) -> tuple[Dataset, list[ImageDetections]]:
    """Return a data set without files, and detections of which a tenth are near its objects."""
    random = np.random.default_rng(0)
    samples, detections = [], []
    truth: list[dict[str, Any]] = []
    for image_id in range(1, images + 1):
        low = random.uniform(0, 400, (found, 2))
        boxes = np.concatenate([low, low + random.uniform(10, 200, (found, 2))], 1).astype(np.float32)
        classes = random.integers(0, 80, found)
        own = slice(0, found // 10)
        samples.append(Sample(ImageFolder(Path()), "", image_id, 640, 640, boxes[own], classes[own]))
        for box, label in zip(boxes[own].astype(float), classes[own]):
            sides = [*box[:2], *(box[2:] - box[:2])]
            described = {"id": len(truth) + 1, "image_id": image_id, "category_id": int(label) + 1}
            truth.append({**described, "bbox": sides, "area": sides[2] * sides[3], "iscrowd": 0})
        moved = torch.from_numpy(boxes + random.normal(0, 5, boxes.shape).astype(np.float32))
        scores = torch.from_numpy(np.sort(random.random(found).astype(np.float32))[::-1].copy())
        detections.append(ImageDetections(image_id, moved, scores, torch.from_numpy(classes)))
    ids = tuple(range(1, 81))
    return Dataset(Path(), "bench", Samples.of(samples), ids, CLASSES, Truth.of(truth), {}), detections


def least_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least seconds of several turns after one to warm up."""
    work()
    return min(seconds_of(work) for _ in range(repeats))


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds of one turn."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
