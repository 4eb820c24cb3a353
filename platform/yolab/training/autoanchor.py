"""Anchors that fit the data: whether a model's own do, and better ones where they don't (autoanchor)."""

from dataclasses import replace

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from yolab.data.samples import Samples
from yolab.experiment import Experiment
from yolab.models.blueprint import Anchors
from yolab.models.spec import DetectorSpec

ENOUGH = 0.98  # best possible recall
_MOST_BOXES = 20_000  # of a large set this many, evenly taken, stand for all
_GENERATIONS = 500


def with_fitting_anchors(about: DetectorSpec, samples: Samples, experiment: Experiment) -> DetectorSpec:
    """Return the description with anchors that fit the data, where the model's own don't and others do better."""
    boxes = _sides(samples, experiment.data.image_size)
    own, threshold = about.blueprint().anchors, experiment.assigner.anchor_threshold
    reached = recall(boxes, own, threshold)
    if not experiment.recipe.autoanchor or reached >= ENOUGH:
        return about
    better = fitted(boxes, own, threshold, experiment.seed)
    return replace(about, anchors=better) if recall(boxes, better, threshold) > reached else about


def warnings(about: DetectorSpec, samples: Samples, experiment: Experiment) -> list[str]:
    """Return what should be known of the anchors of a run, if there is anything."""
    boxes, threshold = _sides(samples, experiment.data.image_size), experiment.assigner.anchor_threshold
    own = recall(boxes, about.blueprint().anchors, threshold)
    if own >= ENOUGH:
        return []
    told = f"The anchors of {experiment.model.name} can reach {own:.1%} of the boxes at best"
    used = with_fitting_anchors(about, samples, experiment)
    if used is about:
        return [f"{told}."]
    reached = recall(boxes, used.blueprint().anchors, threshold)
    return [f"{told}; the run takes others, fitted to the data, which can reach {reached:.1%}."]


def _sides(samples: Samples, image_size: int) -> Tensor:
    """Return width and height (objects, 2), in pixels, of the objects of images whose long side is `image_size`."""
    scale = (image_size / samples.sizes.max(1)).astype(np.float32)[samples.image_of_object]
    boxes = torch.from_numpy((samples.boxes[:, 2:] - samples.boxes[:, :2]) * scale[:, None]).double()
    boxes = boxes[(boxes >= 2).all(1)]
    return boxes[:: max(1, len(boxes) // _MOST_BOXES)]


def recall(boxes: Tensor, anchors: Anchors, threshold: float) -> float:
    """Return the best possible recall: the share of boxes (n, 2) of which both sides differ from those of an
    anchor by less than the factor `threshold`."""
    sides = torch.tensor(anchors, dtype=boxes.dtype).reshape(-1, 2)
    return float((_fit(boxes, sides) > 1 / threshold).double().mean()) if len(boxes) else 1.0


def fitted(boxes: Tensor, like: Anchors, threshold: float, seed: int) -> Anchors:
    """Return anchors that fit boxes (n, 2), as many a level as `like` has: k-means, then random changes of which those
    are kept that fit better. The same for the same seed."""
    levels, each = len(like), len(like[0])
    random = np.random.default_rng(seed)
    spread = boxes.std(0)
    start, _ = kmeans2((boxes / spread).numpy(), levels * each, minit="++", seed=random, missing="warn")
    best = torch.from_numpy(start) * spread
    best_fitness = _fitness(boxes, best, threshold)
    for _ in range(_GENERATIONS):
        change = np.where(random.random(best.shape) < 0.9, 1 + 0.1 * random.standard_normal(best.shape), 1.0)
        candidate = (best * torch.from_numpy(change.clip(0.3, 3.0))).clamp(min=2)
        fitness = _fitness(boxes, candidate, threshold)
        if fitness > best_fitness:
            best, best_fitness = candidate, fitness
    ordered = best[best.prod(1).argsort()].round(decimals=1).reshape(levels, each, 2).tolist()
    return tuple(tuple((width, height) for width, height in level) for level in ordered)


def _fit(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return (n,): how well the best anchor fits each box, 1 at best."""
    ratio = boxes[:, None] / anchors[None]
    return torch.minimum(ratio, 1 / ratio).amin(2).amax(1)


def _fitness(boxes: Tensor, anchors: Tensor, threshold: float) -> float:
    fit = _fit(boxes, anchors)
    return float((fit * (fit > 1 / threshold)).mean())
