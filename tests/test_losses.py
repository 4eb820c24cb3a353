"""The loss and the assignment against vectors of the reference implementation, and by their properties."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from yolab.assignment import policies
from yolab.assignment.candidates import propose
from yolab.data.batch import Targets
from yolab.experiment import Assigner, Loss
from yolab.losses import detection_loss, scaled_gains

GOLDEN = Path(__file__).parent / "golden"
POLICIES = {
    "plain": Assigner(policy="plain"),
    "ota": Assigner(policy="lead", top_k=10),
    "aux": Assigner(policy="coarse_to_fine", top_k=20),
}
TINY_ANCHORS = torch.tensor(
    [[[10.0, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
)


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


@pytest.fixture(params=list(POLICIES))
def golden(request):
    stored = dict(np.load(GOLDEN / f"loss-{request.param}.npz"))
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


def positives_of(g, images: slice = slice(None)):
    """The positives of each head, for some images of the batch."""
    levels = [level.detach()[images] for level in g["levels"]]
    lead, auxiliary = levels[: len(g["strides"])], levels[len(g["strides"]) :]
    return policies.assign(lead, auxiliary, images_of(g["targets"], images), g["anchors"], g["strides"], g["assigner"])


def images_of(targets: Targets, images: slice) -> Targets:
    return Targets(targets.boxes[images], targets.classes[images], targets.present[images])


def rows_of(head, targets: Targets, first_image: int = 0) -> Counter:
    """What a head learns, as a multiset of (level, image, anchor, row, column, box in pixels)."""
    candidates, kept = head.candidates, head.chosen
    level = torch.arange(len(candidates.level_counts)).repeat_interleave(torch.tensor(candidates.level_counts))
    anchor, (column, row) = candidates.prediction % 3, candidates.cell.long().unbind(1)
    cells = [level, candidates.image + first_image, anchor, row, column]
    boxes = targets.boxes[candidates.image, head.target]
    return Counter(
        (*cell, *(round(side, 2) for side in box))
        for cell, box in zip(torch.stack(cells, 1)[kept].tolist(), boxes[kept].tolist())
    )


def test_simota_assigns_the_same_cells_to_the_same_objects_as_the_reference(golden):
    stored = golden["stored"]
    heads = [name for name in ("lead", "aux") if f"{name}_layer0_target" in stored]
    for name, head in zip(heads, positives_of(golden)):
        theirs: Counter = Counter()
        for level in range(len(golden["strides"])):
            cells = stored[f"{name}_layer{level}_image_anchor_row_col"].tolist()
            boxes = (stored[f"{name}_layer{level}_target"][:, 2:] * float(stored["image_size"])).tolist()
            theirs += Counter((level, *c, *(round(side, 2) for side in b)) for c, b in zip(cells, boxes))
        assert rows_of(head, golden["targets"]) == theirs


def test_loss_of_a_batch_without_objects_is_objectness_alone(golden):
    total, parts = loss_of(golden, targets=padded_targets(torch.zeros(0, 6), 4, 128, 128))
    total.backward()
    assert parts[0] == parts[2] == 0
    assert torch.isfinite(total)
    assert all(torch.isfinite(level.grad).all() for level in golden["levels"])


def test_assignment_of_a_batch_is_that_of_its_images_one_by_one(golden):
    whole = [rows_of(head, golden["targets"]) for head in positives_of(golden)]
    one_by_one = [Counter() for _ in whole]
    for image in range(4):
        only = slice(image, image + 1)
        for rows, head in zip(one_by_one, positives_of(golden, only)):
            rows += rows_of(head, images_of(golden["targets"], only), image)
    assert whole == one_by_one


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


AUXILIARY_POLICIES = ("independent", "lead_guided", "coarse_to_fine")
ODD = [  # rows (image, class, centre x, centre y, width, height), relative
    pytest.param([[0, 0, 0.5, 0.5, 0.2, 0.4], [0, 1, 0.52, 0.5, 0.2, 0.4], [2, 1, 0.99, 0.01, 0.1, 0.1]], id="empty"),
    pytest.param([[1, 0, 0.5, 0.5, 0.001, 0.001]], id="an object that no anchor fits"),
    pytest.param([[0, 1, 0.3, 0.7, 0.08, 0.12]], id="levels without positives"),
    pytest.param([], id="no object at all"),
]


@pytest.mark.parametrize("rows", ODD)
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("policy", ["plain", "lead", *AUXILIARY_POLICIES])
def test_odd_batches_of_non_square_images_give_a_finite_loss_and_gradients(policy, classes, rows):
    torch.manual_seed(0)
    heads = 2 if policy in AUXILIARY_POLICIES else 1
    grids = [(16, 32), (8, 16), (4, 8)] * heads
    levels = [torch.randn(3, 3, *grid, 5 + classes, requires_grad=True) for grid in grids]
    targets = padded_targets(torch.tensor(rows).reshape(-1, 6), 3, 256, 128)
    targets.classes.clamp_(max=classes - 1)
    gains = Loss(box=0.05, objectness=1.0, classification=0.5)
    assigner = Assigner(policy=policy, constrained=False)
    total, parts = detection_loss(levels, targets, TINY_ANCHORS, (8, 16, 32), assigner, gains)
    total.backward()
    assert torch.isfinite(parts).all()
    assert all(torch.isfinite(level.grad).all() for level in levels)
    assert (parts[2] > 0) == (classes > 1 and bool(parts[0] > 0))


def test_lead_guided_gives_both_heads_the_same_and_independent_not():
    torch.manual_seed(0)
    levels = [torch.randn(2, 3, 128 // s, 128 // s, 7) for s in (8, 16, 32)] * 2
    levels[3:] = [torch.randn_like(level) for level in levels[3:]]
    rows = torch.cat([torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), torch.rand(4, 4) * 0.4 + 0.2], 1)
    targets = padded_targets(rows, 2, 128, 128)

    def heads(policy):
        assigner = Assigner(policy=policy)
        found = policies.assign(levels[:3], levels[3:], targets, TINY_ANCHORS, (8, 16, 32), assigner)
        return [rows_of(head, targets) for head in found]

    lead, auxiliary = heads("lead_guided")
    assert lead == auxiliary == heads("lead")[0] == heads("independent")[0]
    assert heads("independent")[1] != lead
    coarse = heads("coarse_to_fine")[1]
    assert len(coarse) >= len(lead)


def test_an_unconstrained_centre_reaches_the_cells_that_the_coarse_radius_adds():
    targets = padded_targets(torch.tensor([[0, 0, 0.5, 0.5, 0.1, 0.1]]), 1, 128, 128)
    candidates = propose(targets, [(16, 16)], TINY_ANCHORS[:1], (8,), 1.0, 4.0)
    far = torch.full((len(candidates.image), 6), 20.0)
    for spread, reach in ((2.0, 1.5), (3.0, 2.0)):
        centre = candidates.decode_boxes(far, spread)[:, :2] / 8
        torch.testing.assert_close(centre, candidates.cell + reach)


def test_focal_loss_and_label_smoothing_change_what_they_should(golden):
    plain, smoothed, focal = (
        loss_of(golden | {"gains": golden["gains"].model_copy(update=change)})[1]
        for change in ({}, {"label_smoothing": 0.1}, {"focal_gamma": 1.5})
    )
    assert smoothed[0] == plain[0] == focal[0]
    assert smoothed[1] == plain[1]
    assert smoothed[2] != plain[2]
    assert focal[1] < plain[1]
    assert focal[2] < plain[2]


def test_candidates_of_a_non_square_input_stay_inside_the_grid():
    targets = padded_targets(torch.tensor([[0, 0, 0.99, 0.5, 0.1, 0.2], [0, 0, 0.01, 0.999, 0.2, 0.1]]), 1, 256, 128)
    candidates = propose(targets, [(16, 32), (8, 16), (4, 8)], TINY_ANCHORS, (8, 16, 32), 0.5, 4.0)
    own = candidates.cell[: candidates.level_counts[0]]
    assert own[:, 0].max() == 31
    assert own[:, 1].max() == 15


def test_gains_are_scaled_to_levels_classes_and_size():
    gains = scaled_gains(Loss(box=0.05, objectness=1.0, classification=0.5), levels=4, classes=3, image_size=320)
    assert gains.box == pytest.approx(0.05 * 3 / 4)
    assert gains.objectness == pytest.approx(0.25 * 3 / 4)
    assert gains.classification == pytest.approx(0.5 * 3 / 80 * 3 / 4)
