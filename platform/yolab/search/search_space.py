"""Search spaces: a YAML file of experiment paths, what may stand there and when, and what no point may exceed."""

import itertools
import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolab import preflight
from yolab.errors import UsageError
from yolab.evaluation.score_names import COUNTS
from yolab.experiment import Experiment, build, did_you_mean, paths, shipped, yaml_file
from yolab.models import count
from yolab.models.spec import DetectorSpec

Point = dict[str, Any]  # values by dotted path

# How many numbers a domain takes, and how it is written
KINDS = {
    "choice": (None, "[a, b]"),
    "uniform": (2, "[low, high]"),
    "loguniform": (2, "[low, high]"),
    "quniform": (3, "[low, high, step]"),
    "randint": (2, "[low, high]"),
    "qrandint": (3, "[low, high, step]"),
}
CONSTRAINTS = "constraints"
_COMPARISONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
# What all trials share: it has been checked once, or decides where and how they run
_SHARED = ("name", "compute", "tracking", "recipe.start", *(f"data.{key}" for key in ("path", "also", "classes")))
_SHARED += ("data.train", "data.val", "data.on_error")


@dataclass(frozen=True)
class Domain:
    """What may stand at a path. `choice`: one of `values`; `uniform`, `loguniform`, `randint`: from low to high,
    integers without high; `quniform`, `qrandint`: from low to high in steps. `when`: only where each of these other
    paths has one of the values."""

    path: str
    kind: str
    values: tuple[Any, ...]
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def applies(self, point: Mapping[str, Any]) -> bool:
        return all(where in point and point[where] in wanted for where, wanted in self.when.items())

    def listed(self) -> list[Any] | None:
        """Return all values that may stand here, None for a continuum."""
        if self.kind == "choice":
            return list(self.values)
        if self.kind in ("uniform", "loguniform"):
            return None
        low, high, step = self.values if len(self.values) == 3 else (*self.values, 1)
        count = -(-(high - low) // step) if self.kind == "randint" else int((high - low) / step + 1e-9) + 1
        return [low + number * step for number in range(count)]


@dataclass(frozen=True)
class Constraint:
    """A limit to what a point costs, such as `params <= 40e6`."""

    text: str
    count: str
    comparison: str
    limit: float

    def holds(self, counts: Mapping[str, float]) -> bool:
        return bool(_COMPARISONS[self.comparison](counts[self.count], self.limit))


@dataclass(frozen=True)
class Space:
    """Domains in an order in which each comes after those that it depends on, and constraints."""

    domains: tuple[Domain, ...]
    constraints: tuple[Constraint, ...] = ()

    def points(self) -> Iterator[Point] | None:
        """Return every point, constraints aside, in order; None if the space has a continuum."""
        if any(domain.listed() is None for domain in self.domains):
            return None
        return self._points(self.domains, {})

    def _points(self, domains: tuple[Domain, ...], point: Point) -> Iterator[Point]:
        if not domains:
            yield point
            return
        first, *rest = domains
        for value in (first.listed() or []) if first.applies(point) else [None]:
            yield from self._points(tuple(rest), point | ({first.path: value} if first.applies(point) else {}))


def read(path: Path | str, base: Experiment) -> Space:
    """Return the space of a file, or of one that comes with yolab by its name: a domain a path, each possible in the
    experiment, and `constraints`.

    Such as `assigner.top_k: {randint: [5, 21]}`, or, with a condition, `assigner.auxiliary_weight: {uniform: [0.1,
    0.5], when: {assigner.policy: coarse_to_fine}}`. Raises UsageError.
    """
    return parse(yaml_file.read(shipped.find(shipped.Kind.SPACE, path)), base, str(path))


def parse(content: Mapping[str, Any], base: Experiment, source: str) -> Space:
    """Return the space of a file's content, from `source`. Raises UsageError."""
    content = dict(content)
    limits = content.pop(CONSTRAINTS, [])
    if not isinstance(limits, list):
        raise UsageError(f"{CONSTRAINTS} in {source} takes a list, such as [params <= 40e6, gflops <= 120].")
    domains: dict[str, Domain] = {}
    for where, described in content.items():
        domains[where] = _domain(where, described, domains, base, source)
    if not domains:
        raise UsageError(f"{source} has no path to search: add one, such as `assigner.top_k: {{randint: [5, 21]}}`.")
    for inner, outer in itertools.permutations(domains, 2):
        if inner.startswith(f"{outer}."):
            raise UsageError(f"{inner} is searched twice in {source}: it is a part of {outer}. Take one of them.")
    return Space(tuple(domains.values()), tuple(_constraint(str(limit), source) for limit in limits))


def at(base: Experiment, point: Mapping[str, Any]) -> Experiment:
    """Return the experiment at a point of a space. Raises UsageError if it can't be."""
    return build(base.model_dump(), point, source="the experiment", changed_by="the search space")


def counts_of(experiment: Experiment, names: tuple[str, ...]) -> dict[str, float]:
    """Return what the model of an experiment costs, by the names that constraints use."""
    return count.counts_of(DetectorSpec.of(experiment, names))


def why_not(space: Space, base: Experiment, names: tuple[str, ...], point: Mapping[str, Any]) -> str | None:
    """Return why a point can't be tried, before it costs anything: the constraint that it breaks, or what is impossible
    about it; None if it can."""
    try:
        experiment = at(base, point)
        preflight.check_model(experiment)
    except UsageError as error:
        return str(error)
    if space.constraints:
        counts = counts_of(experiment, names)
        for constraint in space.constraints:
            if not constraint.holds(counts):
                return f"{constraint.text}, but it is {counts[constraint.count]:.4g}"
    return None


def _domain(where: str, described: Any, earlier: Mapping[str, Domain], base: Experiment, source: str) -> Domain:
    known = list(paths(Experiment))
    if where.endswith(".preset"):
        raise UsageError(f"{where} in {source} can't be searched: name the values that differ, each by its path.")
    if where not in known:
        raise UsageError(f"{where} is unknown (in {source}).{did_you_mean(where, known)}")
    if any(where == shared or where.startswith(f"{shared}.") or shared.startswith(f"{where}.") for shared in _SHARED):
        raise UsageError(f"{where} in {source} can't be searched: all trials share it.")
    kinds = [key for key in described if key != "when"] if isinstance(described, Mapping) else []
    if len(kinds) != 1 or kinds[0] not in KINDS:
        raise UsageError(f"{where} in {source} must be one of {', '.join(KINDS)}, such as `choice: [1, 2]`.")
    [kind] = kinds
    values = described[kind]
    length, form = KINDS[kind]
    if not isinstance(values, list) or not values or (length and len(values) != length):
        raise UsageError(f"{where} in {source}: {kind} takes a list, {form}.")
    if kind != "choice":
        _check_numbers(where, kind, values, source)
    found = Domain(where, kind, tuple(values), _condition(where, described.get("when", {}), earlier, source))
    # bounds with the values of the condition, because it may be what makes them possible
    holding = {path: wanted[0] for path, wanted in found.when.items()}
    for value in values if kind == "choice" else (values[0], (found.listed() or values)[-1]):
        build(base.model_dump(), holding | {where: value}, source="the experiment", changed_by=source)
    return found


def _check_numbers(where: str, kind: str, values: list[Any], source: str) -> None:
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        raise UsageError(f"{where} in {source}: {kind} takes numbers, {KINDS[kind][1]}.")
    if values[0] >= values[1]:
        raise UsageError(f"{where} in {source}: {kind} takes the lower number first.")
    if kind == "loguniform" and values[0] <= 0:
        raise UsageError(f"{where} in {source}: loguniform takes numbers above 0.")
    if len(values) == 3 and values[2] <= 0:
        raise UsageError(f"{where} in {source}: the step of {kind} must be above 0.")
    if kind.endswith("randint") and not all(isinstance(value, int) for value in values):
        raise UsageError(f"{where} in {source}: {kind} takes integers.")


def _condition(where: str, described: Any, earlier: Mapping[str, Domain], source: str) -> Mapping[str, tuple[Any, ...]]:
    if not isinstance(described, Mapping):
        raise UsageError(f"{where} in {source}: when takes other paths and their values, {{path: value}}.")
    found = {}
    for path, value in described.items():
        wanted = tuple(value) if isinstance(value, list) else (value,)
        if path not in earlier or earlier[path].listed() is None:
            raise UsageError(
                f"{where} in {source} depends on {path}, which must stand above it as a choice or in whole numbers."
            )
        for one in wanted:
            if one not in (earlier[path].listed() or []):
                raise UsageError(f"{where} in {source} depends on {path} being {one!r}, which it never is.")
        found[path] = wanted
    return found


def _constraint(text: str, source: str) -> Constraint:
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\S+)\s*", text)
    try:
        if match and match[1] in COUNTS:
            return Constraint(text.strip(), match[1], match[2], float(match[3]))
    except ValueError:
        pass
    raise UsageError(
        f"{text!r} in {source} is no constraint: write one of {', '.join(COUNTS)}, <= or >=, and a number, such as "
        "params <= 40e6."
    )
