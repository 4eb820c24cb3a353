"""Policies, optimisers and augmentations from outside are named, checked and trained with as ours are."""

import numpy as np
import pytest
import torch

from tests import tiny_set
from tests.reporting import folder_reporter
from yolab.assignment.policies import POLICIES, Policy
from yolab.data import loaded_data
from yolab.data.augment import AUGMENTATIONS, Augmentation
from yolab.data.drawing import LabelledImage
from yolab.errors import UsageError
from yolab.experiment import Experiment, build
from yolab.preflight import check_model
from yolab.training.loop import train
from yolab.training.optimiser import OPTIMISERS, Optimiser

NAMED = {
    "assigner__policy": "every_second",
    "recipe__optimiser__name": "rmsprop",
    "data__augment__extra": ["night=0.5"],
    "recipe__epochs": 1,
}


def experiment(root, **changes) -> Experiment:
    return build({}, tiny_set.experiment(root, **changes), "test")


@pytest.fixture
def seen(monkeypatch):
    """Adds a row to each table; tells of which was used."""
    used = []

    def every_second(batch):
        used.append("every_second")
        [positives] = POLICIES["plain"].assign(batch)
        positives.chosen[::2] = False
        return [positives]

    def rmsprop(groups, settings):
        used.append("rmsprop")
        return torch.optim.RMSprop(groups, lr=settings.lr, momentum=settings.momentum)

    def night(sample, source, random):
        used.append("night")
        return LabelledImage((sample.image * random.uniform(0.2, 0.6)).astype(np.uint8), sample.boxes, sample.classes)

    monkeypatch.setitem(POLICIES, "every_second", Policy("every second candidate", every_second))
    monkeypatch.setitem(OPTIMISERS, "rmsprop", Optimiser("divides by the root of mean squares", rmsprop))
    monkeypatch.setitem(AUGMENTATIONS, "night", Augmentation("darker, as at night", night))
    return used


def test_a_run_trains_with_added_rows(seen, small_set, tmp_path):
    described = experiment(small_set, **NAMED)
    check_model(described)
    metrics = train(described, loaded_data.load(described.data), folder_reporter(tmp_path))
    assert np.isfinite(metrics["loss"])
    assert set(seen) == {"every_second", "rmsprop", "night"}
    assert 6 <= seen.count("night") <= 18  # of 24 images, each with probability one half


def test_a_name_without_a_row_is_refused_with_its_place_and_the_nearest(seen, tmp_path):
    with pytest.raises(UsageError) as refused:
        experiment(
            tmp_path,
            assigner__policy="lead_guide",
            recipe__optimiser__name="adam",
            data__augment__extra=["nigth=0.5"],
        )
    told = str(refused.value).splitlines()
    assert told == [
        "assigner.policy can't be 'lead_guide' (in the command line): it should be one of plain, lead, independent, "
        "lead_guided, coarse_to_fine, every_second. Did you mean lead_guided?",
        "data.augment.extra can't be ['nigth=0.5'] (in the command line): it should be one of paste_in, vertical_flip, "
        "flip, night. Did you mean night?",
        "recipe.optimiser.name can't be 'adam' (in the command line): it should be one of sgd, adamw, rmsprop. Did you "
        "mean adamw?",
    ]


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (["night"], "a probability after each name"),
        (["night=often"], "a probability after each name"),
        (["night=1.5"], "a probability after each name"),
        (["flip=0.5"], "it is data.augment.flip"),
    ],
)
def test_an_added_augmentation_has_a_probability_and_ours_have_settings(seen, tmp_path, extra, told):
    with pytest.raises(UsageError, match=told):
        experiment(tmp_path, data__augment__extra=extra)


def test_only_named_augmentations_count_and_they_change_the_digest(seen, tmp_path):
    plain, named = experiment(tmp_path), experiment(tmp_path, data__augment__extra=["night=0.5"])
    assert plain.digest("data") != named.digest("data")
    assert "night" not in plain.data.augment.shares()
    assert named.data.augment.shares()["night"] == 0.5


def test_every_row_has_a_line_of_help():
    rows = [*POLICIES.values(), *OPTIMISERS.values(), *AUGMENTATIONS.values()]
    assert all(row.help and "\n" not in row.help for row in rows)
