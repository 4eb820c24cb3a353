"""The paper's tables as data: rows are overrides of a budget's base experiment, beside the figures that are published.

A table is a file in `pipelines/tables`, a budget one in `pipelines/tables/budgets`; files of one's own work as well.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.experiment import Experiment, build, did_you_mean, merge, nest, shipped, yaml_file
from yolab.experiment.shipped import PUBLISHED, Kind

COLUMNS = {
    "params": "params",
    "flops": "FLOPs",
    "size": "size",
    "fps": "FPS",
    "ap_test": "AP test",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_s": "AP_S",
    "ap_m": "AP_M",
    "ap_l": "AP_L",
    **{f"{score}_test": f"{name} test" for score, name in (("ap50", "AP50"), ("ap75", "AP75"))},
    **{f"ap_{size}_test": f"AP_{size.upper()} test" for size in "sml"},
}
_BUDGETS = "budgets"


@dataclass(frozen=True)
class Row:
    """A line of a table: overrides by dotted path, None for a detector that is not ours; `published` by column."""

    name: str
    overrides: Mapping[str, Any] | None
    published: Mapping[str, float | None]


@dataclass(frozen=True)
class Group:
    """Rows that belong together; `improvement` names the better one, and the one that it improves upon."""

    rows: tuple[Row, ...]
    improvement: tuple[str, str] | None


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]

    def rows(self) -> Iterator[Row]:
        for group in self.groups:
            yield from group.rows


@dataclass(frozen=True)
class TableBudget:
    """How much a table may take: the values of a base experiment, a factor of all widths, the image size that stands
    for each published one, and what the table `says` on its face."""

    name: str
    values: Mapping[str, Any]
    says: str
    shrink: float = 1.0
    sizes: Mapping[int, int] = field(default_factory=dict)


def read(name: str, folder: Path | None = None) -> Table:
    """Return the table of that name, of those in a folder (None: of those that come with yolab), or of a file of one's
    own, whose published figures stand beside it, else with yolab. Raises UsageError."""
    path = _path(Kind.TABLE, name, folder)
    content = yaml_file.read(path)
    beside = path.with_name(f"{PUBLISHED}.yaml")
    published_file = beside if beside.exists() else shipped.path_of(Kind.TABLE, PUBLISHED)
    published = yaml_file.read(published_file).get(path.stem, {})
    figures = {
        row: dict(zip(published["columns"], values)) for row, values in published.get("rows", {}).items()
    }  # fmt: skip
    try:
        columns = tuple(content["columns"])
        groups = tuple(_group(described, figures) for described in content["groups"])
        title = str(content["title"])
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{path} is no table: it needs a title, columns, and groups, each with its rows ({error})."
        ) from None
    for column in columns:
        if column not in COLUMNS:
            raise UsageError(f"{path} has an unknown column {column}.{did_you_mean(column, COLUMNS)}")
    table = Table(path.stem, title, columns, groups)
    names = [row.name for row in table.rows()]
    for group in groups:
        for named in group.improvement or ():
            if named not in names:
                raise UsageError(f"{path}: improvement names {named!r}, which is no row. Rows: {', '.join(names)}.")
    return table


def read_budget(name: str, folder: Path | None = None) -> TableBudget:
    """Return the budget of that name, of those of a folder of tables (None: of those that come with yolab), or of a
    file of one's own. Raises UsageError."""
    path = _path(Kind.BUDGET, name, folder and folder / _BUDGETS)
    content = yaml_file.read(path)
    try:
        return TableBudget(path.stem, content["experiment"], content["says"], content.get("shrink", 1.0),
                      content.get("sizes", {}))  # fmt: skip
    except KeyError as error:
        raise UsageError(f"{path} is no budget: it lacks {error}.") from None


def experiment_of(row: Row, budget: TableBudget, changes: Mapping[str, Any], seed: int) -> Experiment:
    """Return what a row runs: the budget's experiment, the row's overrides, then `changes` from the command line.

    Raises UsageError, which names the row.
    """
    values = dict(budget.values)
    for path, value in (row.overrides or {}).items():
        values = merge(values, nest(path, value))
    described = build(values, {**changes, "seed": seed}, source=f"the row {row.name!r}")
    size = described.data.image_size
    scale = {axis: getattr(described.model.scale, axis) * budget.shrink for axis in ("width", "hidden")}
    cut = {f"model.scale.{axis}": factor for axis, factor in scale.items()}
    if "data.image_size" not in changes:
        cut["data.image_size"] = budget.sizes.get(size, size)
    return build(described.model_dump(), cut, source=f"the row {row.name!r}", changed_by=f"the budget {budget.name}")


def _path(kind: Kind, name: str, folder: Path | None) -> Path:
    if folder is None or name.endswith(".yaml"):
        return shipped.find(kind, name)
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = [file.stem for file in sorted(folder.glob("*.yaml")) if file.stem != PUBLISHED]
        raise UsageError(
            f"There is no {kind} {name} in {folder}.{did_you_mean(name, known)} Say --tables DIR, or leave it out for "
            "those that come with yolab."
        )
    return path


def _group(described: Mapping[str, Any], figures: Mapping[str, Mapping[str, float | None]]) -> Group:
    common = described.get("all", {})
    rows = tuple(
        Row(name, None if overrides is None else {**common, **overrides}, figures.get(name, {}))
        for name, overrides in described["rows"].items()
    )
    improvement = described.get("improvement")
    return Group(rows, (improvement[0], improvement[1]) if improvement else None)
