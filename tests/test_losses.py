"""The loss against vectors of the reference implementation, and by its properties."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import loss_vectors
from tests.loss_vectors import ASSIGNERS, TINY_ANCHORS, padded_targets
from yolab.data.batch import Targets
from yolab.experiment import Assigner, Loss
from yolab.losses import detection_loss, scaled_gains


@pytest.fixture(params=list(ASSIGNERS))
def golden(request):
    return loss_vectors.read(request.param)


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


def test_loss_of_a_batch_without_objects_is_objectness_alone(golden):
    total, parts = loss_of(golden, targets=padded_targets(torch.zeros(0, 6), 4, 128, 128))
    total.backward()
    assert parts[0] == parts[2] == 0
    assert torch.isfinite(total)
    assert all(torch.isfinite(level.grad).all() for level in golden["levels"])


def test_sum_of_two_workers_losses_is_the_loss_of_the_whole_batch(golden):
    """As in a run with two workers: each has two of the four images, counts are summed over both."""
    whole, _ = loss_of(golden)
    halves = [slice(0, 2), slice(2, 4)]

    def part(images: slice, sums):
        targets = Targets(*(getattr(golden["targets"], k)[images] for k in ("boxes", "classes", "present")))
        return loss_of(golden, [p[images] for p in golden["levels"]], targets, sum_over_workers=sums, workers=2)[0]

    counts: list[Tensor] = []
    for images in halves:
        part(images, lambda own: counts.append(own) or own)
    total = sum(part(images, lambda _: counts[0] + counts[1]) for images in halves)
    assert total.item() == pytest.approx(whole.item(), rel=1e-5)


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


def test_gains_are_scaled_to_levels_classes_and_size():
    gains = scaled_gains(Loss(box=0.05, objectness=1.0, classification=0.5), levels=4, classes=3, image_size=320)
    assert gains.box == pytest.approx(0.05 * 3 / 4)
    assert gains.objectness == pytest.approx(0.25 * 3 / 4)
    assert gains.classification == pytest.approx(0.5 * 3 / 80 * 3 / 4)
