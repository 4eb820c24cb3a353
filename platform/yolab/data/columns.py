"""Columns of a data set: a few large arrays, which are shared between processes without a copy, in place of one object
a row. None is ever written to again: it may be another process's memory as well."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

_EXACT = 2**53  # beyond, a float no longer holds every whole number


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts, one after the other: `content` (bytes,) uint8, UTF-8; the i-th ends before `ends[i]`, (texts + 1,), where
    ends[-1] of none is 0."""

    content: np.ndarray
    ends: np.ndarray

    def __post_init__(self) -> None:
        protect(self)

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        return cls(np.frombuffer(b"".join(encoded), np.uint8), bounds([len(text) for text in encoded]))

    @classmethod
    def joined(cls, parts: Sequence["Texts"]) -> "Texts":
        lengths = np.concatenate([np.diff(part.ends) for part in parts])
        return cls(np.concatenate([part.content for part in parts]), bounds(lengths))

    def __getitem__(self, index: int) -> str:
        return self.content[self.ends[index] : self.ends[index + 1]].tobytes().decode("utf-8", "surrogatepass")


def protect(columns: Any) -> None:
    """Make the arrays of a dataclass read-only, as those are that come from another process."""
    for field in fields(columns):
        value = getattr(columns, field.name)
        if isinstance(value, np.ndarray):
            value.setflags(write=False)


def bounds(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return (parts + 1,) where parts of these lengths begin and the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def integers(values: Sequence[int]) -> np.ndarray:
    """Return whole numbers as int64, or as they are where one is beyond it."""
    try:
        return np.array(values, np.int64)
    except OverflowError:
        return np.fromiter(values, object, len(values))


def numbers(values: Sequence[Any]) -> np.ndarray:
    """Return values as float64 if it holds each of them, else as they are."""
    if set(map(type, values)) <= {int, float} and not any(type(v) is int and abs(v) > _EXACT for v in values):
        return np.array(values, np.float64)
    return np.fromiter(values, object, len(values))
