"""The one family of errors that a user can cause or must hear about; anything else that escapes is a bug."""

import errno
import os
from collections.abc import Iterator

_FULL = {errno.ENOSPC, errno.EDQUOT}


class YolabError(Exception):
    """The work failed: one sentence that says what, where and what to do. The command ends with exit code 1."""

    exit_code = 1


class UsageError(YolabError):
    """The request can't be meant: wrong configuration, data or arguments. Nothing was created. Exit code 2."""

    exit_code = 2


class GateError(YolabError):
    """A gate of the registry said no. Exit code 3."""

    exit_code = 3


def is_interruption(error: BaseException) -> bool:
    """Return whether an error is an interruption, or came of one: it is raised wherever the main thread is, and what
    cleans up there stumbles over what was broken off, as `shutil.rmtree` over a folder that it just closed."""
    return any(isinstance(each, KeyboardInterrupt) for each in _and_before(error))


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error comes of a disk that is full, which libraries say each in a class of its own."""
    return any(
        (isinstance(each, OSError) and each.errno in _FULL) or os.strerror(errno.ENOSPC) in str(each)
        for each in _and_before(error)
    )


def _and_before(error: BaseException) -> Iterator[BaseException]:
    before: BaseException | None = error
    while before is not None:
        yield before
        before = before.__context__
