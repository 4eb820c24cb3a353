"""What jobs come to."""

from dataclasses import asdict, dataclass
from typing import Any

INTERRUPTED = 130  # the exit code of a command that was told to stop, as shells have it for Ctrl-C


@dataclass(frozen=True)
class Result:
    """The base of every job's result: frozen, and JSON-ready by `document`, which `--json` prints.

    `exit_code` is what the command ends with: a job that did its work and found something wrong says so by it.
    """

    @property
    def exit_code(self) -> int:
        return 0

    def document(self) -> Any:
        """Return it as JSON can hold it."""
        return asdict(self)
