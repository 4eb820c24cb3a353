"""A command of the user's that hears how work ended, and tells it on: as a chat message, or a mail."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from yolab.errors import is_interruption
from yolab.jobs.result import INTERRUPTED, Result, json_text
from yolab.jobs.watcher import Watcher

_SECONDS = 60

AnyResult = TypeVar("AnyResult", bound=Result)


@contextmanager
def told_at_end(command: str | None, what: str, watcher: Watcher) -> Iterator[Callable[[AnyResult], AnyResult]]:
    """Let the shell run a command at the end of the block, if there is one, with a JSON document as its input: `what`
    ended; its `state`, finished, stopped or failed; the `error`, if it failed; and the `result` that the block gave to
    the function that it gets, which returns it. What goes wrong with the command is noted, and changes nothing."""
    told: dict[str, Any] = {"what": what, "state": "failed", "error": None, "result": None}

    def hear(result: AnyResult) -> AnyResult:
        told["result"] = result.document()
        told["state"] = {0: "finished", INTERRUPTED: "stopped"}.get(result.exit_code, "failed")
        return result

    try:
        yield hear
    except BaseException as error:
        told["state"] = "stopped" if is_interruption(error) else "failed"
        told["error"] = None if is_interruption(error) else str(error)
        raise
    finally:
        if command:
            _run(command, json_text(told), watcher)


def _run(command: str, document: str, watcher: Watcher) -> None:
    try:
        done = subprocess.run(
            command, shell=True, input=document, text=True, errors="replace", capture_output=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        watcher.note(f"--on-end: `{command}` was ended: it took longer than {_SECONDS} s.")
        return
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        watcher.note(f"--on-end: `{command}` failed with exit code {done.returncode}: {said}")
