"""What jobs come to."""

import json
import math
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


def json_text(document: Any, indent: int | None = None) -> str:
    """Return a document as JSON; what is not a number becomes null."""
    return json.dumps(_without_nan(document), indent=indent, default=str)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value
