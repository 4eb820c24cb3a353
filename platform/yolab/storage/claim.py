"""The folder of a run, a sweep or a table in the storage: made once, and gone back to only with the same work."""

import itertools
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from yolab.errors import UsageError
from yolab.storage.document import as_bytes, read_document, write_document
from yolab.storage.place import Storage

FILE_NAME = "run.json"
_VERSION = 1


def unused(storage: Storage, name: str) -> Storage:
    """Return the place `name` in the storage, or `name-2` and so on if it is taken."""
    return next(place for place in _numbered(storage, name) if not place.exists())


def last_numbered(storage: Storage, name: str) -> Storage | None:
    """Return the newest of `name`, `name-2` and so on, None if there is none."""
    return next(iter(_taken(storage, name)), None)


def begun(storage: Storage, name: str, work: Mapping[str, Any]) -> Storage | None:
    """Return the newest of `name`, `name-2` and so on whose work is this, None if there is none."""
    asked = _as_stored(work)
    return next((place for place in _taken(storage, name) if claimed(place)[1] == asked), None)


def last_used(storage: Storage, name: str) -> Storage:
    """Return the newest place of a run of that name. Raises UsageError if there is none."""
    found = last_numbered(storage, name)
    if found is None:
        raise UsageError(f"There is no run {name} in {storage} to go on with: leave out --resume.")
    return found


def claim(place: Storage, work: Mapping[str, Any]) -> str:
    """Make a place with the description of its work in it; return the key by which its run is found again. Raises
    UsageError if somebody has it already."""
    key = f"{place.name}-{secrets.token_hex(4)}"
    if not place.create(FILE_NAME, as_bytes({"key": key, "work": work}, _VERSION)):
        raise UsageError(f"There is a run or sweep {place.name} in {place.parent}: take another name.")
    return key


def claimed(place: Storage) -> tuple[str, dict[str, Any]]:
    """Return the key of a place, and the description of its work. Raises UsageError if it has none."""
    try:
        stored = read_document(place, FILE_NAME, _VERSION)
        return str(stored["key"]), dict(stored["work"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{place} is not the folder of a run or sweep: it has no sound {FILE_NAME}.") from None


def reclaim(place: Storage, work: Mapping[str, Any]) -> str:
    """Return the key of a place to go on with. Raises UsageError if its work was another."""
    key, stored = claimed(place)
    asked = _as_stored(work)
    if stored != asked:
        changed = sorted(name for name in asked if stored.get(name) != asked[name])
        raise UsageError(
            f"{place} can't be resumed: what it does was described otherwise ({', '.join(changed)}). "
            "Resume it as it was, or give the new one another name."
        )
    return key


def extend(place: Storage, work: Mapping[str, Any]) -> None:
    """Replace the description of a place's work by one that has more to do."""
    write_document(place, FILE_NAME, {"key": claimed(place)[0], "work": work}, _VERSION)


def _numbered(storage: Storage, name: str) -> Iterator[Storage]:
    yield storage / name
    yield from (storage / f"{name}-{number}" for number in itertools.count(2))


def _taken(storage: Storage, name: str) -> list[Storage]:
    """Return the places of a name that are taken, the newest first."""
    return list(itertools.takewhile(lambda place: place.exists(), _numbered(storage, name)))[::-1]


def _as_stored(work: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(work))
