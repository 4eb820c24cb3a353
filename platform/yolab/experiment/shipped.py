"""The files that come with yolab, found by name from any folder: experiments, search spaces, tables and their budgets.

In the repository they are `pipelines/` and `search_spaces/`, which `yolab/shipped` links to; a wheel has them there.
"""

from enum import StrEnum
from pathlib import Path

from yolab.errors import UsageError
from yolab.experiment.messages import did_you_mean

ROOT = Path(__file__).parents[1] / "shipped"
PUBLISHED = "published"  # stands among the tables: what each of them is compared with
_ENDING = ".yaml"


class Kind(StrEnum):
    EXPERIMENT = "experiment"
    SPACE = "space"
    TABLE = "table"
    BUDGET = "budget"


FOLDERS = {
    Kind.EXPERIMENT: Path("pipelines/experiments"),
    Kind.SPACE: Path("search_spaces"),
    Kind.TABLE: Path("pipelines/tables"),
    Kind.BUDGET: Path("pipelines/tables/budgets"),
}


def names(kind: Kind) -> list[str]:
    """Return what comes with yolab of a kind, in order."""
    return sorted(file.stem for file in (ROOT / FOLDERS[kind]).glob(f"*{_ENDING}") if file.stem != PUBLISHED)


def path_of(kind: Kind, name: str) -> Path:
    """Return where a shipped file is, from its name."""
    return ROOT / FOLDERS[kind] / f"{name}{_ENDING}"


def shipped_name(kind: Kind, named: str | Path) -> str | None:
    """Return which shipped file is named: "demo", "demo.yaml", or by its path in the repository; None: none."""
    path = Path(named)
    name = path.name.removesuffix(_ENDING)
    return name if path.parent in (Path(), FOLDERS[kind]) and name in names(kind) else None


def find(kind: Kind, named: str | Path, beside: Path = Path()) -> Path:
    """Return the file that is meant: the one at that path (from the folder `beside`), else the shipped one so called.

    Raises UsageError, with the nearest name, if there is neither.
    """
    path = beside / named
    name = shipped_name(kind, named)
    if path.is_file() or (path.exists() and name is None):
        return path
    if name is not None:
        return path_of(kind, name)
    meant = did_you_mean(Path(named).stem, names(kind)) + " `yolab ls` lists what comes with yolab."
    if Path(named).suffix or len(Path(named).parts) > 1:
        raise UsageError(f"Can't read {path}: No such file or directory.{meant}")
    raise UsageError(f"There is no {kind} {named}, and no such file.{meant}")
