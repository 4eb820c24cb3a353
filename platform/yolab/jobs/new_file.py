"""Where a job writes a file: never over another."""

from pathlib import Path

from yolab.errors import UsageError


def new_file(output: str | Path, ending: str) -> Path:
    """Return the path of a file to write. Raises UsageError unless it ends so, and if there is something already."""
    path = Path(output)
    if path.suffix != ending:
        raise UsageError(f"{path} must end in {ending}.")
    if path.exists():
        raise UsageError(f"{path} is there already: name another file, or remove it first.")
    return path
