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


def last_numbered(home: Path, name: str) -> Path | None:
    """Return the newest of `home/name`, `home/name-2` and so on, None if there is none."""
    following = unused(home, name)
    number = int(following.name.removeprefix(f"{name}-")) - 1 if following.name != name else 0
    return {0: None, 1: home / name}.get(number, home / f"{name}-{number}")


def last_used(home: Path, name: str) -> Path:
    """Return the newest folder of a run of that name. Raises UsageError if there is none."""
    found = last_numbered(home, name)
    if found is None:
        raise UsageError(f"There is no run {name} in {home} to go on with: leave out --resume.")
    return found


def claim(folder: Path, work: Mapping[str, Any]) -> str:
    """Make the folder with the description of its work in it; return the key by which its run is found again."""
    folder.mkdir(parents=True)
    key = f"{folder.name}-{secrets.token_hex(4)}"
    _write(folder, key, work)
    return key


def claimed(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the key of a folder, and the description of its work. Raises UsageError if it has none."""
    try:
        stored = json.loads((folder / _FILE).read_text())
    except (OSError, json.JSONDecodeError):
        raise UsageError(f"{folder} is not the folder of a run or sweep: there is no {_FILE} in it.") from None
    return str(stored["key"]), dict(stored["work"])


def reclaim(folder: Path, work: Mapping[str, Any]) -> str:
    """Return the key of a folder to go on with. Raises UsageError if its work was another."""
    key, stored = claimed(folder)
    if stored != json.loads(json.dumps(work)):
        changed = sorted(name for name in work if stored.get(name) != work[name])
        raise UsageError(
            f"{folder} can't be resumed: what it does was described otherwise ({', '.join(changed)}). "
            "Resume it as it was, or give the new one another name."
        )
    return key


def extend(folder: Path, work: Mapping[str, Any]) -> None:
    """Replace the description of a folder's work by one that has more to do."""
    _write(folder, claimed(folder)[0], work)


def _write(folder: Path, key: str, work: Mapping[str, Any]) -> None:
    incoming = folder / f"{_FILE}.incoming"
    incoming.write_text(json.dumps({"key": key, "work": work}, indent=2))
    incoming.rename(folder / _FILE)
