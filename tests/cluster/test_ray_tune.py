"""What a trial of a sweep makes of errors."""

import pytest
import torch

from yolab.cluster.ray_tune import _cannot_fit
from yolab.errors import UsageError, YolabError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), True),
        (MemoryError(), True),
        (UsageError("data.image_size can't be 33."), True),
        (YolabError("The loss is no longer a number."), False),
        (RuntimeError("a bug"), False),
    ],
)
def test_a_point_that_does_not_fit_is_told_from_a_failure(error, expected):
    assert _cannot_fit(error) is expected
