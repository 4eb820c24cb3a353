"""From an experiment file to an `Experiment`: YAML with `extends`, presets, overrides.

Merged in this order, later wins: defaults, presets, the files along `extends`, the overrides of the command line.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yolab.errors import UsageError
from yolab.experiment import shipped, yaml_file
from yolab.experiment.merging import merge, nest
from yolab.experiment.messages import in_words, path_of, unknown_path
from yolab.experiment.presets import expand_presets
from yolab.experiment.schema import Experiment, flatten, paths
from yolab.storage import is_remote

# Changes of an experiment: `key.path=value` texts, or values by dotted path
Overrides = Iterable[str] | Mapping[str, Any]


def load(path: Path | str, overrides: Overrides = ()) -> Experiment:
    """Read an experiment, a file or one that comes with yolab by its name, follow its `extends`, apply `key.path=value`
    overrides, and validate.

    Raises UsageError, with every mistake found, each with its place and what would be right.
    """
    content = _read_with_parents(shipped.find(shipped.Kind.EXPERIMENT, path), seen=())
    return build(content, changes_of(overrides), source=str(path))


def changes_of(overrides: Overrides) -> dict[str, Any]:
    """Return `key.path=value` texts as values by dotted path. Raises UsageError."""
    if isinstance(overrides, Mapping):
        return dict(overrides)
    return dict(_split_override(text) for text in overrides)


def build(
    values: Mapping[str, Any], changes: Mapping[str, Any], source: str, changed_by: str = "the command line"
) -> Experiment:
    """Return the experiment of nested `values`, from `source`, with `changes` by dotted path, from `changed_by`; both
    are named in errors."""
    known = list(paths(Experiment))
    for path in changes:
        if path not in known:
            raise UsageError(unknown_path(path, known, changed_by))
    merged = dict(values)
    for path, value in changes.items():
        merged = merge(merged, nest(path, value))
    for path, _ in flatten(merged):
        if path not in known:
            raise UsageError(unknown_path(path, known, source))
    try:
        return Experiment.model_validate(expand_presets(merged))
    except ValidationError as error:
        told = (
            in_words(problem, changed_by if _is_below(path_of(problem), changes) else source, known)
            for problem in error.errors()
        )
        raise UsageError("\n".join(told)) from None


def _is_below(path: str, changes: Mapping[str, Any]) -> bool:
    return any(path == changed or path.startswith(f"{changed}.") for changed in changes)


def deviations(experiment: Experiment) -> dict[str, Any]:
    """Return what an experiment has otherwise than the defaults and its presets, by dotted path."""
    recipe, augment = ({"preset": section.preset} for section in (experiment.recipe, experiment.data.augment))
    named = {"name": experiment.name, "recipe": recipe, "data": {"augment": augment}}
    usual = build(named, {}, "the presets").flat()
    return {path: value for path, value in experiment.flat().items() if value != usual.get(path)}


def with_absolute_paths(experiment: Experiment) -> Experiment:
    """Return the experiment with its paths absolute, because workers change directory."""
    folders = {"path": _absolute(experiment.data.path), "also": [_absolute(path) for path in experiment.data.also]}
    data = experiment.data.model_copy(update=folders)
    start = experiment.recipe.start and _absolute(experiment.recipe.start)
    recipe = experiment.recipe.model_copy(update={"start": start})
    return experiment.model_copy(update={"data": data, "recipe": recipe})


def with_extended(path: Path) -> list[Path]:
    """Return a YAML file and those that it extends, without what comes with yolab. Raises UsageError."""
    found: list[Path] = []
    next_: Path | None = path
    while next_ and next_ not in found and not next_.is_relative_to(shipped.ROOT):
        found.append(next_)
        next_ = _extended(next_, yaml_file.read(next_).get("extends"))
    return found


def _absolute(path: str) -> str:
    return path if is_remote(path) else str(Path(path).resolve())


def _read_with_parents(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UsageError(f"{path} extends itself, by way of {' -> '.join(p.name for p in seen)}.")
    content = yaml_file.read(path)
    above = _extended(path, content.pop("extends", None))
    return merge(_read_with_parents(above, (*seen, path.resolve())), content) if above else content


def _extended(path: Path, parent: Any) -> Path | None:
    if parent is None:
        return None
    try:
        return shipped.find(shipped.Kind.EXPERIMENT, str(parent), beside=path.parent)
    except UsageError as error:
        raise UsageError(f"{path} extends {parent}: {error}") from None


def _split_override(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise UsageError(f"Can't read the override {text!r}: write key.path=value, such as recipe.epochs=10.")
    return path, yaml_file.value(value, path)
