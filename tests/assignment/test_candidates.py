"""Which predictions could learn which objects: never outside the grid, and within reach of their centres."""

import torch

from tests.loss_vectors import TINY_ANCHORS, padded_targets
from yolab.assignment.candidates import propose


def test_an_unconstrained_centre_reaches_the_cells_that_the_coarse_radius_adds():
    targets = padded_targets(torch.tensor([[0, 0, 0.5, 0.5, 0.1, 0.1]]), 1, 128, 128)
    candidates = propose(targets, [(16, 16)], TINY_ANCHORS[:1], (8,), 1.0, 4.0)
    far = torch.full((len(candidates.image), 6), 20.0)
    for spread, reach in ((2.0, 1.5), (3.0, 2.0)):
        centre = candidates.decode_boxes(far, spread)[:, :2] / 8
        torch.testing.assert_close(centre, candidates.cell + reach)


def test_candidates_of_a_non_square_input_stay_inside_the_grid():
    targets = padded_targets(torch.tensor([[0, 0, 0.99, 0.5, 0.1, 0.2], [0, 0, 0.01, 0.999, 0.2, 0.1]]), 1, 256, 128)
    candidates = propose(targets, [(16, 32), (8, 16), (4, 8)], TINY_ANCHORS, (8, 16, 32), 0.5, 4.0)
    own = candidates.cell[: candidates.level_counts[0]]
    assert own[:, 0].max() == 31
    assert own[:, 1].max() == 15
