"""What is wrong with an experiment, in words, with what would be right."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name or dotted path that was most likely meant."""

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, name, candidate).ratio()
        last = difflib.SequenceMatcher(None, name.split(".")[-1], candidate.split(".")[-1]).ratio()
        return whole + last

    return max(known, key=likeness)


def unknown_path(path: str, known: list[str], source: str) -> str:
    """Return what is said of a dotted path that no experiment has."""
    return f"{path} is unknown (in {source}). Did you mean {nearest(path, known)}?"


def path_of(problem: Mapping[str, Any]) -> str:
    """Return the dotted path that a problem of pydantic's is about."""
    return ".".join(str(part) for part in problem["loc"])


def in_words(problem: Mapping[str, Any], source: str, known: list[str]) -> str:
    """Return what pydantic found in an experiment from `source`, as one sentence."""
    where = path_of(problem)
    if problem["type"] == "extra_forbidden":
        return unknown_path(where, known, source)
    if problem["type"] == "missing":
        return f"{where} is missing in {source}: add it."
    if problem["type"] == "model_type":
        return f"{where} can't be {problem['input']!r} (in {source}): it should be a group of keys with values."
    if problem["type"] == "string_pattern_mismatch":
        return f"{where} can't be {problem['input']!r} (in {source}): take letters, digits, dots, dashes, underscores."
    told = problem["msg"].replace("Input should be", "it should be")
    return f"{where} can't be {problem['input']!r} (in {source}): {told}" + ("" if told.endswith("?") else ".")
