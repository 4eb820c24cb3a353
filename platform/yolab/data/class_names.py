"""The names of classes, as people and files give them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.experiment import yaml_file

_FILES = {".txt", ".names", ".yaml", ".yml"}


def in_order(given: Any) -> tuple[str, ...] | None:
    """Return the names of a list, or of a mapping from 0, 1, … to names, in their order; None if it is neither, or if
    each name is only its number."""
    if isinstance(given, Mapping):
        by_number = {str(number): name for number, name in given.items()}
        given = [by_number.get(str(number)) for number in range(len(given))]
    if not isinstance(given, (list, tuple)) or not all(type(name) in (str, int) for name in given):
        return None
    names = tuple(map(str, given))
    return None if names == tuple(map(str, range(len(names)))) else names


def read(given: str) -> tuple[str, ...]:
    """Return names that a user gives: separated by commas, or a file with one in each line, or with `names` in YAML.
    Raises UsageError."""
    path = Path(given)
    if path.suffix.lower() not in _FILES and not path.is_file():
        return tuple(name.strip() for name in given.split(","))
    if path.suffix.lower() in (".yaml", ".yml"):
        names = in_order(yaml_file.read(path).get("names"))
        if names is None:
            raise UsageError(f"{path} must list the classes as `names`, each of them a text.")
        return names
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"Can't read the names in {path}: {reason}.") from None
    return tuple(line.strip() for line in text.strip().splitlines())


def require(names: tuple[str, ...], classes: int, source: str, advice: str) -> None:
    """Raise UsageError, with the advice, unless the names that `source` gives are those of so many classes: none of
    them empty, none given twice."""
    if len(names) != classes:
        raise UsageError(f"{source} has names for {len(names)} classes, but its tensors are for {classes}: {advice}")
    wrong = next((name for number, name in enumerate(names) if not name.strip() or name in names[:number]), None)
    if wrong is not None:
        problem = f"two classes {wrong!r}" if wrong.strip() else "a class without a name"
        raise UsageError(f"{source} has {problem}: {advice}")
