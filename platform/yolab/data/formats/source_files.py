"""The files of a data set as people have it, and which picture a label is about: one rule for all layouts."""

import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from yolab.data.images import ENDINGS
from yolab.errors import UsageError

_OUTSIDE = re.compile(r"(\w:)?[/\\]|\.\.[/\\]")  # how a path begins that is not meant from a folder of the data set


@dataclass(frozen=True)
class Label:
    """What says which picture it is about.

    file: where it stands. names: what it calls the picture, the best first, with `/` or `\\` between folders; one that
    ends in `.*` leaves the picture's ending open. places: the folders that such a name is meant from, the best first.
    own: the folders of its split; if they hold pictures, its picture isn't looked for anywhere else. others: those of
    other splits.
    """

    file: Path
    names: tuple[str, ...]
    places: tuple[Path, ...]
    own: tuple[Path, ...]
    others: tuple[Path, ...] = ()


class SourceFiles:
    """All files below some folders, sorted; hidden ones, which systems and editors leave, are none of the data."""

    def __init__(self, *roots: Path) -> None:
        found = {path: None for root in roots for path in _below(os.path.abspath(root), ())}
        self.paths = sorted(map(Path, found))
        self.pictures = [path for path in self.paths if path.suffix.lower() in ENDINGS]

    @cached_property
    def picture_folders(self) -> set[str]:
        """The folders that hold pictures, however far below."""
        return _above(self.pictures)

    def ending(self, *endings: str) -> list[Path]:
        return [path for path in self.paths if path.suffix.lower() in endings]


def match(labels: Sequence[Label], pictures: Sequence[Path]) -> list[Path | None]:
    """Return the picture of each label, None where it isn't there.

    It is the file that a name leads to from one of the places, whatever separates folders there and however accents are
    composed. If the label's own folders hold no picture, it may be the only one, outside of other labels' folders,
    whose path ends so. If a file's names lead nowhere and begin outside of the data set, the folders that all of them
    begin with are those of another machine, and are left away. What one label leads to more directly than another is
    not the other's.

    Raises UsageError if several pictures could be meant.
    """
    paths = _Paths(pictures)
    found: list[Path | None] = [None] * len(labels)
    claimed: set[Path] = set()
    for way in paths.ways(labels):
        hits = {}
        for number, label in enumerate(labels):
            if found[number] is None:
                name, candidates = way(label)
                if not claimed.issuperset(candidates):
                    hits[number] = _only(candidates, label, name)
        for number, hit in hits.items():
            found[number] = hit
        claimed |= set(hits.values())
    for number, picture in _of_another_machine(labels, found, paths).items():
        found[number] = None if picture in claimed else picture
    return found


_Way = Callable[[Label], tuple[str, Sequence[Path]]]  # to a label's picture: by which name, what may be meant


class _Paths:
    """Pictures by their paths, and by those with `.*` in place of their ending."""

    def __init__(self, pictures: Sequence[Path]) -> None:
        self._exact: dict[str, list[Path]] = {}
        self._alike: dict[str, list[Path]] = {}
        self._named: dict[str, list[Path]] = {}  # by the last part of the path
        self._folders = _above(pictures)
        for picture in pictures:
            for path in (os.fspath(picture), os.path.splitext(picture)[0] + ".*"):
                self._exact.setdefault(path, []).append(picture)
                self._alike.setdefault(_alike(path), []).append(picture)
                self._named.setdefault(_alike(path).rpartition("/")[2], []).append(picture)

    def ways(self, labels: Sequence[Label]) -> Iterator[_Way]:
        """Yield the ways from labels to pictures, the most direct first."""
        owned = {os.fspath(folder) for label in labels for folder in (*label.own, *label.others)}
        for name in range(max((len(label.names) for label in labels), default=0)):
            for place in range(max(len(label.places) for label in labels)):
                yield partial(self._at_place, name, place, os.path.normpath, self._exact)
                yield partial(self._at_place, name, place, _alike, self._alike)
            yield partial(self._anywhere, name, owned)

    def at_places(self, label: Label, name: str) -> Path | None:
        for place in label.places:
            if candidates := self._alike.get(_alike(os.path.join(place, name))):
                return _only(candidates, label, name)
        return None

    def _at_place(
        self, name: int, place: int, key: Callable[[str], str], paths: dict[str, list[Path]], label: Label
    ) -> tuple[str, Sequence[Path]]:
        if name >= len(label.names) or place >= len(label.places):
            return "", ()
        return label.names[name], paths.get(key(os.path.join(label.places[place], label.names[name])), ())

    def _anywhere(self, name: int, owned: set[str], label: Label) -> tuple[str, Sequence[Path]]:
        if name >= len(label.names) or any(os.fspath(folder) in self._folders for folder in label.own):
            return "", ()
        end = "/" + "/".join(_parts(label.names[name]))
        candidates = [
            path
            for path in self._named.get(end.rpartition("/")[2], [])
            if any(_alike(known).endswith(end) for known in (os.fspath(path), os.path.splitext(path)[0] + ".*"))
            and not any(os.fspath(folder) in owned for folder in path.parents)
        ]
        return label.names[name], candidates


def _of_another_machine(labels: Sequence[Label], found: Sequence[Path | None], paths: _Paths) -> dict[int, Path | None]:
    """Return the pictures of files whose labels have none so far, by their first names without the folders that all of
    these begin with, or with the first of them, as far as that leads somewhere."""
    lost: dict[Path, list[int]] = {label.file: [] for label in labels}
    for number, label in enumerate(labels):
        lost[label.file].append(number)
    for label, picture in zip(labels, found):
        if picture is not None:
            lost.pop(label.file, None)
    elsewhere: dict[int, Path | None] = {}
    for numbers in lost.values():
        if not all(_OUTSIDE.match(labels[number].names[0]) for number in numbers):
            continue
        parts = [_parts(labels[number].names[0]) for number in numbers]
        shared = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*(folders[:-1] for folders in parts)))
        for left_away in range(1, len(list(shared)) + 1):
            names = ["/".join(rest[left_away:]) for rest in parts]
            elsewhere |= {n: paths.at_places(labels[n], name) for n, name in zip(numbers, names)}
            if any(elsewhere[number] for number in numbers):
                break
    return elsewhere


def _above(paths: Sequence[Path]) -> set[str]:
    """Return all folders that hold some of the files, however far below."""
    folders: set[str] = set()
    for path in paths:
        folder = os.path.dirname(path)
        while folder not in folders:
            folders.add(folder)
            folder = os.path.dirname(folder)
    return folders


def _only(candidates: Sequence[Path], label: Label, name: str) -> Path:
    if len(candidates) > 1:
        told = " or ".join(map(str, candidates[:2]))
        raise UsageError(f"{name!r} in {label.file} may be {told}: rename one of them, or take it out.")
    return candidates[0]


def _alike(path: str) -> str:
    """Return what paths have in common that differ only in their separators or in how their accents are composed."""
    return os.path.normpath(unicodedata.normalize("NFC", path).replace("\\", "/"))


def _parts(name: str) -> list[str]:
    return [part for part in _alike(name).split("/") if part not in ("", ".", "..")]


def _below(folder: str, above: tuple[str, ...]) -> Iterator[str]:
    """Yield the files below a folder; links are followed, but not in a circle."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise UsageError(f"Can't look into {folder}: {error.strerror}.") from None
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if entry.is_dir():
            yield from _below(entry.path, (*above, real))
        elif entry.is_file():
            yield entry.path
