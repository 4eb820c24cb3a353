"""What comes with yolab: experiments, search spaces, tables with their budgets, and models."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolab.assignment.policies import POLICIES
from yolab.data.augment import AUGMENTATIONS
from yolab.errors import UsageError
from yolab.experiment import did_you_mean, shipped, yaml_file
from yolab.experiment.shipped import Kind
from yolab.jobs.result import Result
from yolab.models import zoo
from yolab.models.blueprint import Blueprint
from yolab.registry.gates import GATES
from yolab.search.schedulers import SCHEDULERS
from yolab.search.searchers import SEARCHERS
from yolab.training.optimiser import OPTIMISERS

MODEL = "model"
_TABLES: dict[str, Mapping[str, Any]] = {  # one's own rows are listed, too
    "scheduler": SCHEDULERS,
    "searcher": SEARCHERS,
    "assignment policy": POLICIES,
    "optimiser": OPTIMISERS,
    "augmentation": AUGMENTATIONS,
    "gate": GATES,
}
_EXTENDS = re.compile(r"^extends:[ \t]*(?P<parent>[^\s#]+)", re.MULTILINE)


@dataclass(frozen=True)
class Item:
    """One thing that comes with yolab: `about` says what it is; `command` runs it, None where nothing is to be run."""

    kind: str
    name: str
    about: str
    command: str | None


@dataclass(frozen=True)
class Items(Result):
    items: tuple[Item, ...]

    def document(self) -> list[dict[str, Any]]:
        return [asdict(item) for item in self.items]


@dataclass(frozen=True)
class Copy(Result):
    """A shipped file, and the copy of it."""

    kind: Kind
    name: str
    path: Path

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"path": str(self.path)}


def ls() -> Items:
    """Return all that comes with yolab, kind by kind: files, models, and the rows of its tables."""
    files = (_item(kind, name) for kind in Kind for name in shipped.names(kind))
    models = (Item(MODEL, blueprint.name, _about(blueprint), None) for blueprint in zoo.BLUEPRINTS.values())
    rows = (Item(kind, name, row.help, None) for kind, table in _TABLES.items() for name, row in table.items())
    return Items((*files, *models, *rows))


def cp(name: str, target: str | Path, *, kind: str | None = None) -> Copy:
    """Copy an experiment, space, table or budget that comes with yolab into a new file, to make it one's own. `kind`
    says which one is meant where several have that name.

    What an experiment extends is named in the copy, so that it is found from anywhere; the command in the first line
    names the copy. Raises UsageError if there is no such thing, if several are meant, or if the file is there already.
    """
    chosen, found = _named(name, kind)
    path = Path(target)
    text = _extending_by_name(shipped.path_of(chosen, found).read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x") as file:
            file.write(_run_as(text, chosen, found, path))
    except FileExistsError:
        raise UsageError(f"{path} is there already: choose another name, or remove it first.") from None
    return Copy(chosen, found, path)


def _item(kind: Kind, name: str) -> Item:
    path = shipped.path_of(kind, name)
    lines = path.read_text().splitlines()
    comment = [line.removeprefix("#").strip() for line in lines[: _count_comments(lines)]]
    command = comment.pop(0) if comment and comment[0].startswith("yolab ") else None
    # of a comment, the first sentence
    about = yaml_file.read(path)["title"] if kind is Kind.TABLE else re.split(r"(?<=\.) ", " ".join(comment))[0]
    return Item(kind, name, about, command)


def _count_comments(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))


def _about(model: Blueprint) -> str:
    auxiliary = ", with an auxiliary head for training" if model.auxiliary else ""
    return f"{model.image_size} px, {len(model.outputs)} levels{auxiliary}"


def _named(name: str, kind: str | None) -> tuple[Kind, str]:
    if kind is not None and kind not in list(Kind):
        raise UsageError(f"--kind can't be {kind!r}: take one of {', '.join(Kind)}.")
    kinds = list(Kind) if kind is None else [Kind(kind)]
    found = {each: known for each in kinds if (known := shipped.shipped_name(each, name))}
    if len(found) > 1:
        choices = " or ".join(f"--kind {each}" for each in found)
        raise UsageError(f"Several files that come with yolab are called {name}: say {choices}.")
    if found:
        [(chosen, known)] = found.items()
        return chosen, known
    if name in zoo.BLUEPRINTS:
        raise UsageError(f"{name} is a model, which is no file: name it in an experiment, model.name={name}.")
    meant = did_you_mean(Path(name).stem, [known for each in kinds for known in shipped.names(each)])
    raise UsageError(f"Nothing called {name} comes with yolab.{meant} `yolab ls` lists all.")


def _extending_by_name(text: str) -> str:
    return _EXTENDS.sub(lambda found: f"extends: {Path(found['parent']).stem}", text)


def _run_as(text: str, kind: Kind, name: str, path: Path) -> str:
    """Let the command that opens a file name the file at `path`."""
    first, newline, rest = text.partition("\n")
    if not first.startswith("# yolab "):
        return text
    own = (name, str(shipped.FOLDERS[kind] / f"{name}.yaml"))
    return " ".join(str(path) if word in own else word for word in first.split(" ")) + newline + rest
