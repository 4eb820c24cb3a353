"""The folder of a run or a sweep below `runs/`: made once, and gone back to only with the same work."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolab.errors import UsageError

_FILE = "run.json"


def unused(home: Path, name: str) -> Path:
    """Return `home/name`, or `home/name-2` and so on if it is taken."""
    number, folder = 1, home / name
    while folder.exists():
        number += 1
        folder = home / f"{name}-{number}"
    return folder


def last_used(home: Path, name: str) -> Path:
    """Return the newest of `home/name`, `home/name-2` and so on. Raises UsageError if there is none."""
    following = unused(home, name)
    number = int(following.name.removeprefix(f"{name}-")) - 1 if following.name != name else 0
    if number == 0:
        raise UsageError(f"There is no run {name} in {home} to go on with: leave out --resume.")
    return home / name if number == 1 else home / f"{name}-{number}"


def claim(folder: Path, work: Mapping[str, Any]) -> str:
    """Make the folder with the description of its work in it; return the key by which its run is found again."""
    folder.mkdir(parents=True)
    key = f"{folder.name}-{secrets.token_hex(4)}"
    incoming = folder / f"{_FILE}.incoming"
    incoming.write_text(json.dumps({"key": key, "work": work}, indent=2))
    incoming.rename(folder / _FILE)
    return key


def reclaim(folder: Path, work: Mapping[str, Any]) -> str:
    """Return the key of a folder to go on with. Raises UsageError if its work was another."""
    try:
        stored = json.loads((folder / _FILE).read_text())
    except (OSError, json.JSONDecodeError):
        raise UsageError(f"{folder} is not the folder of a run or sweep: there is no {_FILE} in it.") from None
    if stored["work"] != json.loads(json.dumps(work)):
        changed = sorted(key for key in work if stored["work"].get(key) != work[key])
        raise UsageError(
            f"{folder} can't be resumed: what it does was described otherwise ({', '.join(changed)}). "
            "Resume it as it was, or give the new one another name."
        )
    return str(stored["key"])
