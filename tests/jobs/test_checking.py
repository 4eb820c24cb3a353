"""What is known of an experiment before it runs."""

import pytest
import torch

from tests import tiny_set
from yolab.cluster.capacity import of_this_machine
from yolab.errors import UsageError
from yolab.experiment import build
from yolab.jobs.checking import check
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
