"""The assignment against vectors of the reference implementation, and by its properties."""

from collections import Counter

import pytest
import torch

from tests import loss_vectors
from tests.loss_vectors import ASSIGNERS, TINY_ANCHORS, padded_targets
from yolab.assignment import policies
from yolab.assignment.policies import POLICIES
from yolab.data.batch import Targets
from yolab.experiment import Assigner


@pytest.fixture(params=list(ASSIGNERS))
def golden(request):
    return loss_vectors.read(request.param)


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


def test_assignment_of_a_batch_is_that_of_its_images_one_by_one(golden):
    whole = [rows_of(head, golden["targets"]) for head in positives_of(golden)]
    one_by_one = [Counter() for _ in whole]
    for image in range(4):
        only = slice(image, image + 1)
        for rows, head in zip(one_by_one, positives_of(golden, only)):
            rows += rows_of(head, images_of(golden["targets"], only), image)
    assert whole == one_by_one


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


def test_the_policies_of_both_heads_say_so_and_each_has_a_line_of_help():
    assert {name for name, policy in POLICIES.items() if policy.needs_auxiliary} == {
        "independent",
        "lead_guided",
        "coarse_to_fine",
    }
    assert all(policy.help and "\n" not in policy.help for policy in POLICIES.values())
