"""What is wrong with an experiment, in words, with what would be right."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_ALIKE = 0.6  # of two names, or of the last parts of two paths: from here on one may be meant by the other
_LISTED = 8
_SHOWN = 80  # characters of what can't be
_FEW = 6  # names that are told whole, where none is alike


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return, to be put behind a sentence, the known name or dotted path that was most likely meant by an unknown one;
    where none is alike, the names there are, if they are few."""
    names = sorted(dict.fromkeys(known))
    found = max(names, key=lambda each: sum(_likeness(name, each)), default="")
    if found and (max(_likeness(name, found)) >= _ALIKE or (name and name in found)):
        return f" Did you mean {_quoted(found)}?"
    return f" Known: {', '.join(map(_quoted, names))}." if 0 < len(names) <= _FEW else ""


def listed(names: Sequence[str]) -> str:
    """Return names for a sentence, of many the first and how many more there are."""
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _quoted(name: str) -> str:
    return repr(name) if " " in name else name


def _likeness(name: str, candidate: str) -> tuple[float, float]:
    """Return how alike two names, or dotted paths, are as a whole and in their last parts, from 0 to 1."""
    pairs = ((name, candidate), (name.split(".")[-1], candidate.split(".")[-1]))
    whole, last = (difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)
    return whole, last


def unknown_path(path: str, known: list[str], source: str) -> str:
    """Return what is said of a dotted path that no experiment has."""
    return f"{path} is unknown (in {source}).{did_you_mean(path, known)}"


def path_of(problem: Mapping[str, Any]) -> str:
    """Return the dotted path that a problem of pydantic's is about."""
    return ".".join(str(part) for part in problem["loc"])


def in_words(problem: Mapping[str, Any], source: str, known: list[str]) -> str:
    """Return what pydantic found in an experiment from `source`, as one sentence."""
    where, given = path_of(problem), _shortened(repr(problem["input"]))
    if problem["type"] == "extra_forbidden":
        return unknown_path(where, known, source)
    if problem["type"] == "missing":
        return f"{where} is missing in {source}: add it."
    if problem["type"] == "model_type":
        return f"{where} can't be {given} (in {source}): it should be a group of keys with values."
    if problem["type"] == "string_pattern_mismatch":
        return f"{where} can't be {given} (in {source}): take letters, digits, dots, dashes, underscores."
    told = problem["msg"].replace("Input should be", "it should be")
    return f"{where} can't be {given} (in {source}): {told}" + ("" if told.endswith(("?", ".")) else ".")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
