"""The loss and the assignment against vectors of the reference implementation, and by their properties."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from yolab.assignment import policies
from yolab.assignment.candidates import Targets, propose
from yolab.experiment import Assigner, Loss
from yolab.losses import detection_loss, scaled_gains

GOLDEN = Path(__file__).parent / "golden"
POLICIES = {"plain": Assigner(policy="plain"), "ota": Assigner(policy="lead", top_k=10)}


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


@pytest.fixture(params=["plain", "ota"])
def golden(request):
    stored = dict(np.load(GOLDEN / f"loss-{request.param}.npz"))
    size = int(stored["image_size"])
    settings = json.loads(str(stored["hyp"]))
    return {
        "stored": stored,
        "levels": [torch.from_numpy(stored[f"pred{i}"]).requires_grad_() for i in range(3)],
        "rows": torch.from_numpy(stored["targets"]).float(),
        "targets": padded_targets(torch.from_numpy(stored["targets"]).float(), 4, size, size),
        "anchors": torch.from_numpy(stored["anchors_px"]).float(),
        "strides": stored["strides"].astype(int).tolist(),
        "gains": Loss(box=settings["box"], objectness=settings["obj"], classification=settings["cls"]),
        "assigner": POLICIES[request.param],
    }


def loss_of(g, levels=None, targets=None, **more):
    levels, targets = levels or g["levels"], targets or g["targets"]
    return detection_loss(levels, targets, g["anchors"], g["strides"], g["assigner"], g["gains"], **more)


def test_total_parts_and_gradients_equal_the_reference(golden):
    total, parts = loss_of(golden)
    total.backward()
    stored = golden["stored"]
    assert total.item() == pytest.approx(stored["total"].item(), rel=1e-4)
    np.testing.assert_allclose(parts.numpy(), stored["parts"], rtol=1e-4)
    for index, level in enumerate(golden["levels"]):
        gradient = level.grad
        sample = gradient.flatten()[:: max(1, gradient.numel() // 200)]
        np.testing.assert_allclose(sample.numpy(), stored[f"grad{index}_sample"], rtol=1e-3, atol=1e-6)
        assert gradient.abs().sum().item() == pytest.approx(float(stored[f"grad{index}_abs_sum"]), rel=1e-4)


def test_simota_assigns_the_same_cells_to_the_same_objects_as_the_reference(golden):
    if golden["assigner"].policy == "plain":
        return
    grids = [tuple(level.shape[2:4]) for level in golden["levels"]]
    candidates = propose(golden["targets"], grids, golden["anchors"], golden["strides"], 0.5, 4.0)
    predictions = candidates.gather([level.detach() for level in golden["levels"]])
    chosen, target = policies.assign(predictions, candidates, golden["targets"], golden["assigner"])
    number = 0
    for index, count in enumerate(candidates.level_counts):
        level = slice(number, number + count)
        number += count
        cells = torch.stack([getattr(candidates, k)[level] for k in ("image", "anchor", "row", "column")], 1)
        kept = chosen[level]
        boxes = golden["targets"].boxes[candidates.image[level], target[level]][kept] / float(
            golden["stored"]["image_size"]
        )
        ours = Counter((*c, *(round(v, 4) for v in b)) for c, b in zip(cells[kept].tolist(), boxes.tolist()))
        stored = golden["stored"][f"lead_layer{index}_image_anchor_row_col"].tolist()
        reference_boxes = golden["stored"][f"lead_layer{index}_target"][:, 2:].tolist()
        theirs = Counter((*c, *(round(v, 4) for v in b)) for c, b in zip(stored, reference_boxes))
        assert ours == theirs


def test_loss_of_a_batch_without_objects_is_objectness_alone(golden):
    total, parts = loss_of(golden, targets=padded_targets(torch.zeros(0, 6), 4, 128, 128))
    total.backward()
    assert parts[0] == parts[2] == 0
    assert torch.isfinite(total)
    assert all(torch.isfinite(level.grad).all() for level in golden["levels"])


def test_assignment_of_a_batch_is_that_of_its_images_one_by_one(golden):
    grids = [tuple(level.shape[2:4]) for level in golden["levels"]]

    def positives(images: slice):
        targets = Targets(*(getattr(golden["targets"], k)[images] for k in ("boxes", "classes", "present")))
        candidates = propose(targets, grids, golden["anchors"], golden["strides"], 0.5, 4.0)
        predictions = candidates.gather([level.detach()[images] for level in golden["levels"]])
        chosen, target = policies.assign(predictions, candidates, targets, golden["assigner"])
        columns = [candidates.image + images.start, candidates.anchor, candidates.row, candidates.column, target]
        return Counter(map(tuple, torch.stack(columns, 1)[chosen].tolist()))

    one_by_one = sum((positives(slice(i, i + 1)) for i in range(4)), Counter())
    assert positives(slice(0, 4)) == one_by_one


def test_mean_of_two_workers_losses_is_the_loss_of_the_whole_batch(golden):
    """As in a run with two workers: each has two of the four images, counts are summed over both."""
    whole, _ = loss_of(golden)
    halves = [slice(0, 2), slice(2, 4)]

    def part(images: slice, sums):
        targets = Targets(*(getattr(golden["targets"], k)[images] for k in ("boxes", "classes", "present")))
        return loss_of(golden, [p[images] for p in golden["levels"]], targets, sum_over_workers=sums, workers=2)[0]

    counts: list[Tensor] = []
    for images in halves:
        part(images, lambda own: counts.append(own) or own)
    mean = sum(part(images, lambda _: counts[0] + counts[1]) for images in halves) / 2
    assert mean.item() == pytest.approx(whole.item(), rel=1e-5)


def test_candidates_of_a_non_square_input_stay_inside_the_grid():
    targets = padded_targets(torch.tensor([[0, 0, 0.99, 0.5, 0.1, 0.2], [0, 0, 0.01, 0.999, 0.2, 0.1]]), 1, 256, 128)
    anchors = torch.tensor(
        [[[10.0, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
    )
    candidates = propose(targets, [(16, 32), (8, 16), (4, 8)], anchors, (8, 16, 32), 0.5, 4.0)
    own = candidates.cell[: candidates.level_counts[0]]
    assert own[:, 0].max() == 31
    assert own[:, 1].max() == 15


def test_gains_are_scaled_to_levels_classes_and_size():
    gains = scaled_gains(Loss(box=0.05, objectness=1.0, classification=0.5), levels=4, classes=3, image_size=320)
    assert gains.box == pytest.approx(0.05 * 3 / 4)
    assert gains.objectness == pytest.approx(0.25 * 3 / 4)
    assert gains.classification == pytest.approx(0.5 * 3 / 80 * 3 / 4)
