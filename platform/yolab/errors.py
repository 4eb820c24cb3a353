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
