"""Files that say in which version of their format they are, so that an older or newer yolab's are read or refused."""

import json
from collections.abc import Mapping
from typing import Any

from yolab.errors import UsageError
from yolab.storage.place import Storage

FORMAT = "format"


def stamped(content: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Return content for a JSON file, with the version of its format in front."""
    return {FORMAT: version, **content}


def check_version(found: Any, version: int, where: str) -> None:
    """Raise UsageError unless this yolab, which writes `version`, reads the version that was found; files from before
    there were versions have none."""
    if found is not None and (type(found) is not int or found < 1):
        raise UsageError(f"{where} is damaged: its format is no number from 1 on.")
    if found is not None and found > version:
        raise UsageError(
            f"{where} was written by a newer yolab (its format is {found}, this one reads up to {version}): use that "
            "one."
        )


def write_document(storage: Storage, name: str, content: Mapping[str, Any], version: int) -> None:
    """Write a JSON file that says its version."""
    storage.write(name, as_bytes(content, version))


def as_bytes(content: Mapping[str, Any], version: int) -> bytes:
    return json.dumps(stamped(content, version), indent=2).encode()


def read_document(storage: Storage, name: str, version: int) -> dict[str, Any]:
    """Return the content of a JSON file. Raises FileNotFoundError if it isn't there, ValueError if it is no JSON
    mapping, UsageError if a newer yolab wrote it."""
    content = json.loads(storage.read(name))
    if not isinstance(content, dict):
        raise ValueError(f"{storage / name} holds no mapping")
    check_version(content.pop(FORMAT, None), version, str(storage / name))
    return content
