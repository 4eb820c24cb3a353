"""Errors that libraries raise, told apart."""

import errno
import os

import pytest
from safetensors import SafetensorError

from yolab.errors import is_full_disk

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def chained(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (FULL, True),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), True),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (chained(RuntimeError("PytorchStreamWriter failed writing file data/0"), FULL), True),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), False),
        (ValueError("what else"), False),
    ],
)
def test_a_full_disk_is_known_whoever_says_it(error, full):
    assert is_full_disk(error) is full
