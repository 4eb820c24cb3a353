"""A table of the paper, or one's own, run."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolab.cluster.capacity import capacity
from yolab.cluster.ray_tune import Trials
from yolab.data.loaded_data import DEPENDS_ON
from yolab.errors import UsageError, YolabError
from yolab.evaluation.latency import seconds_of
from yolab.experiment import Experiment, Overrides, changes_of, did_you_mean, with_absolute_paths
from yolab.jobs.checking import check_trials
from yolab.jobs.result import INTERRUPTED, Result
from yolab.jobs.session import Session
from yolab.jobs.trials import deliver_left, require_main_thread, run_trials
from yolab.jobs.watcher import SILENT, Watcher
from yolab.models.spec import DetectorSpec
from yolab.preflight import CheckedExperiment, check_model
from yolab.reports import ablation_report
from yolab.reports.ablation_report import Line, RowResult
from yolab.search.ablation_table import COLUMNS, Row, Table, TableBudget, experiment_of, read, read_budget
from yolab.search.budget import Budget
from yolab.search.searchers import ListSearcher
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import TrialState
from yolab.storage import claim
from yolab.tracking import find_runs, record, tags
from yolab.tracking.outbox import Outbox, delivering

# Column -> the metric of a run that it shows, in percent
_SCORES = {"ap": "ap", "ap50": "ap50", "ap75": "ap75", "ap_s": "ap_small", "ap_m": "ap_medium", "ap_l": "ap_large"}


@dataclass(frozen=True)
class AblateResult(Result):
    """A table as it was run: what its budget `says` on its face, and its lines, beside the published ones; CSV,
    Markdown and LaTeX are in `folder`. `failed` are the rows, with their seeds, that did not come to their end;
    `interrupted` says whether somebody elsewhere stopped it."""

    table: str
    title: str
    budget: str
    says: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    folder: str
    failed: tuple[str, ...]
    interrupted: bool

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        return YolabError.exit_code if self.failed else 0

    def document(self) -> Any:
        lines = [vars(line) for line in self.lines]
        return {"table": self.table, "budget": self.budget, "says": self.says, "lines": lines}

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Return heads and lines for people."""
        heads = ["row", "", *(COLUMNS[column] for column in self.columns)]
        return heads, [ablation_report.as_text(line, self.columns) for line in self.lines]


def ablate(
    table: str,
    overrides: Overrides = (),
    *,
    budget: str = "smoke",
    seeds: int = 1,
    rows: Sequence[str] = (),
    data: str | Path | None = None,
    fresh: bool = False,
    retries: int = 1,
    max_hours: float | None = None,
    max_concurrent: int | None = None,
    tables: Path | None = None,
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> AblateResult:
    """Run the rows of a table in parallel, and return it beside the published figures.

    Rows that have been run already, in whatever table, are taken from MLflow, unless `fresh`; the same call goes on
    with a table that was interrupted. `table` and `budget` are names, or files of one's own. Raises UsageError for what
    can't be meant, before anything is created; YolabError if every row that was run failed.
    """
    require_main_thread()
    session = Session.at(storage)
    asked, limits = read(table, tables), read_budget(budget, tables)
    experiments = experiments_of(asked, limits, overrides, data, rows, seeds)
    base = next(iter(experiments.values()))
    room = capacity()
    checked = check_trials(base, watcher, room)
    precision = checked.experiment.compute.precision
    every = {key: replace(checked, experiment=each.in_precision(precision)) for key, each in experiments.items()}
    uri = session.uri_of(base)
    folder = _folder_of(session, asked, limits, fresh)
    with folder.held():
        outbox = record.opened(folder.place, checked, folder.key, record.tags_of(checked, "table"))
        outbox.deliver(uri)
        deliver_left(folder, uri)
        known = {} if fresh else find_runs.finished_by_digest(uri)
        missing = {place: each for place, each in every.items() if each.digest not in known}
        watcher.note(f"{len(every) - len(missing)} of {len(every)} runs are there already.")
        why = None
        if missing:
            trials = _trials(folder, uri, str(outbox.run_id), checked, missing, retries, asked.name)
            within = Budget(hours=max_hours, concurrent=max_concurrent)
            with delivering(uri) as delivery:
                why = run_trials(trials, room, within, len(missing), "The same command goes on.", delivery, watcher)
            done = find_runs.finished_by_digest(uri).items()
            known |= {d: run for d, run in done if not fresh or run["tags"].get(tags.SWEEP_TAG) == folder.name}

        lines = _report(asked, limits, every, known, folder, outbox)
        lacking = tuple(f"{name} (seed {seed})" for (name, seed), each in every.items() if each.digest not in known)
        state = TrialState.FINISHED if not lacking else TrialState.STOPPED if why else TrialState.FAILED
        note = folder.place.read(f"{asked.name}.md").decode()
        outbox.end(state, tags={tags.TABLE_TAG: asked.name, tags.NOTE_TAG: note})
        with delivering(uri) as delivery:
            delivery.add(outbox)
    if lacking and why:
        watcher.note(f"Stopped, because {why.reason}. The same command goes on.")
    elif lacking:
        watcher.note(f"These rows did not come to their end: {', '.join(lacking)}. `yolab runs` says why.")
    failed = () if why else lacking
    interrupted = bool(lacking) and why is not None and why.interrupted
    return AblateResult(
        asked.name, asked.title, limits.name, limits.says, asked.columns, tuple(lines), str(folder.place), failed,
        interrupted,
    )  # fmt: skip


def experiments_of(
    table: Table,
    budget: TableBudget,
    overrides: Overrides,
    data: str | Path | None,
    rows: Sequence[str],
    seeds: int,
) -> dict[tuple[str, int], Experiment]:
    """Return what a table runs, by row and seed, its models checked. Raises UsageError."""
    changes = changes_of(overrides) | ({"data.path": str(data)} if data else {})
    found = {}
    for row in _chosen(table, rows):
        for seed in range(seeds):
            found[row.name, seed] = with_absolute_paths(experiment_of(row, budget, changes, seed))
        check_model(found[row.name, 0])
    first = next(iter(found.values())).data
    for (row_name, _), experiment in found.items():
        for name in DEPENDS_ON:
            if getattr(experiment.data, name) != getattr(first, name):
                raise UsageError(f"The row {row_name!r} can't have a data.{name} of its own: all rows share the data.")
    return found


def _folder_of(session: Session, table: Table, budget: TableBudget, fresh: bool) -> SweepFolder:
    """Return the folder of a table, claimed. Raises UsageError if somebody works on it."""
    name, work = f"{table.name}-{budget.name}", {"table": table.name, "budget": budget.name}
    place = claim.unused(session.storage, name) if fresh else claim.last_numbered(session.storage, name)
    folder = SweepFolder(place or session.storage / name)
    folder.require_free()
    if folder.place.exists():
        claim.reclaim(folder.place, work)
    else:
        claim.claim(folder.place, work)
    return folder


def _trials(
    folder: SweepFolder,
    uri: str,
    parent_id: str,
    checked: CheckedExperiment,
    missing: Mapping[tuple[str, int], CheckedExperiment],
    retries: int,
    table: str,
) -> Trials:
    """Return what is missing of a table as trials, one for each row and seed."""
    base = checked.experiment.flat()
    points, own_tags = {}, {}
    for (row, seed), each in missing.items():
        name = f"{_slug(row)}-s{seed}-{each.digest[:6]}"
        points[name] = {path: value for path, value in each.experiment.flat().items() if base[path] != value}
        own_tags[name] = {tags.TABLE_TAG: table, tags.ROW_TAG: row, tags.SWEEP_TAG: folder.name}
    of_trials = record.tags_of(checked, "trial")
    return Trials(folder, checked, uri, parent_id, of_trials, ListSearcher(points), retries, own_tags=own_tags)


def _report(
    table: Table,
    budget: TableBudget,
    every: Mapping[tuple[str, int], CheckedExperiment],
    known: Mapping[str, dict[str, Any]],
    folder: SweepFolder,
    outbox: Outbox,
) -> list[Line]:
    """Return the lines of a table, saved in its folder and in MLflow."""
    results = {name: _result(name, table, every, known) for name in dict.fromkeys(name for name, _ in every)}
    groups = ablation_report.lines(table, {name: result for name, result in results.items() if result.runs})
    with tempfile.TemporaryDirectory() as scratch:
        for file in ablation_report.save(table, budget.says, groups, Path(scratch)):
            outbox.file(folder.place.keep(file), "table")
    return [line for group in groups for line in group]


def _chosen(table: Table, names: Sequence[str]) -> list[Row]:
    """Return the rows of these names, all that are run if there are none. Raises UsageError with the nearest name."""
    known = [row.name for row in table.rows() if row.overrides is not None]
    for name in names:
        if name not in known:
            raise UsageError(f"{table.name} has no row {name!r} to run.{did_you_mean(name, known)}")
    return [row for row in table.rows() if row.name in (names or known)]


def _result(
    row: str, table: Table, every: Mapping[tuple[str, int], CheckedExperiment], known: Mapping[str, dict[str, Any]]
) -> RowResult:
    """Return what the runs of a row came to."""
    checked = [each for (name, _), each in every.items() if name == row]
    found = [known[each.digest] for each in checked if each.digest in known]
    values: dict[str, list[float]] = {column: [] for column in table.columns}
    for run in found:
        values.setdefault("params", []).append(run["metrics"]["params_fused"] / 1e6)
        values.setdefault("flops", []).append(run["metrics"]["gflops"])
        values.setdefault("size", []).append(float(run["params"]["data.image_size"]))
        for column, metric in _SCORES.items():
            if column in values and metric in run["metrics"]:
                values[column].append(run["metrics"][metric])
    if "fps" in values and found:
        values["fps"] = [1 / seconds_of(DetectorSpec.of(checked[0].experiment, checked[0].names))]
    return RowResult({column: values[column] for column in table.columns}, [run["run_id"] for run in found])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
