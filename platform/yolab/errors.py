"""The one family of errors that a user can cause or must hear about; anything else that escapes is a bug."""


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
    before: BaseException | None = error
    while before is not None and not isinstance(before, KeyboardInterrupt):
        before = before.__context__
    return before is not None
