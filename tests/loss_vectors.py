"""The vectors of the reference implementation's losses, and batches of targets."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yolab.data.batch import Targets
from yolab.experiment import Assigner, Loss

GOLDEN = Path(__file__).parent / "golden"
ASSIGNERS = {
    "plain": Assigner(policy="plain"),
    "ota": Assigner(policy="lead", top_k=10),
    "aux": Assigner(policy="coarse_to_fine", top_k=20),
}
TINY_ANCHORS = torch.tensor(
    [[[10.0, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
)


def read(name: str) -> dict[str, Any]:
    """Return the vectors of an assigner of `ASSIGNERS`, with what they were computed from."""
    stored = dict(np.load(GOLDEN / f"loss-{name}.npz"))
    size = int(stored["image_size"])
    settings = json.loads(str(stored["hyp"]))
    return {
        "stored": stored,
        "levels": [torch.from_numpy(stored[name]).requires_grad_() for name in sorted(stored) if "pred" in name],
        "rows": torch.from_numpy(stored["targets"]).float(),
        "targets": padded_targets(torch.from_numpy(stored["targets"]).float(), 4, size, size),
        "anchors": torch.from_numpy(stored["anchors_px"]).float(),
        "strides": stored["strides"].astype(int).tolist(),
        "gains": Loss(box=settings["box"], objectness=settings["obj"], classification=settings["cls"]),
        "assigner": ASSIGNERS[name],
    }


def padded_targets(rows: Tensor, images: int, width: float, height: float) -> Targets:
    """Targets of rows (image, class, centre x, centre y, width, height), relative."""
    most = int(torch.bincount(rows[:, 0].long(), minlength=images).max()) if len(rows) else 0
    boxes, classes = torch.ones(images, most, 4), torch.zeros(images, most, dtype=torch.int64)
    present = torch.zeros(images, most, dtype=torch.bool)
    for image in range(images):
        own = rows[rows[:, 0] == image]
        boxes[image, : len(own)] = own[:, 2:] * torch.tensor([width, height, width, height])
        classes[image, : len(own)] = own[:, 1].long()
        present[image, : len(own)] = True
    return Targets(boxes, classes, present)
