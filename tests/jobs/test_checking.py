"""What is known of an experiment before it runs."""

import pytest
import torch

from tests import tiny_set
from yolab.cluster.capacity import of_this_machine
from yolab.errors import UsageError
from yolab.experiment import build
from yolab.jobs.checking import check, check_trials
from yolab.jobs.watcher import SILENT
from yolab.training.precision import Precision


def checked(small_set, room=None, **changes):
    return check(build({}, tiny_set.experiment(small_set, **changes), "test"), SILENT, room, torch.device("cpu"))


def test_auto_is_digested_as_the_precision_that_it_stands_for(small_set):
    here, meant = of_this_machine(), Precision.of("auto", torch.device("cpu")).name
    auto, given = (checked(small_set, here, compute__precision=name) for name in ("auto", meant))
    assert auto.experiment.compute.precision == meant
    assert auto.digest == given.digest
    assert checked(small_set, here, compute__precision="fp16").digest != given.digest


def test_what_is_not_to_run_needs_no_room(small_set):
    much = {"compute__gpus_per_worker": 8, "compute__cpus_per_worker": 1000}
    assert checked(small_set, **much).train_images > 0
    with pytest.raises(UsageError, match="room for 0 such workers"):
        checked(small_set, of_this_machine(), **much)


def test_trials_have_a_fixed_number_of_workers(small_set):
    changes = {"compute__workers": {"min": 1, "max": 2}, "compute__shards": 2}
    described = build({}, tiny_set.experiment(small_set, **changes), "test")
    with pytest.raises(UsageError, match="can't be from 1 to 2 in trials"):
        check_trials(described, SILENT, of_this_machine())
