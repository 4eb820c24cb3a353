"""yolab ablate: a table of the paper, run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolab.cli.output import JsonOption, console, print_json, print_table

if TYPE_CHECKING:
    from yolab.experiment import Experiment
    from yolab.preflight import CheckedExperiment
    from yolab.reports.ablation_report import Result
    from yolab.search.ablation_table import Budget, Row, Table

# Column -> the metric of a run that it shows, in percent
_SCORES = {"ap": "ap", "ap50": "ap50", "ap75": "ap75", "ap_s": "ap_small", "ap_m": "ap_medium", "ap_l": "ap_large"}


def ablate(
    table: Annotated[str, typer.Argument(help="table1 … table8, or a file of one's own.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.path=value for all rows.")] = None,
    budget: Annotated[str, typer.Option(help="smoke, short or full, or a file of one's own.")] = "smoke",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, with the seeds 0, 1, …")] = 1,
    rows: Annotated[list[str] | None, typer.Option(help="Only this row; as often as wanted.")] = None,
    data: Annotated[Path | None, typer.Option(help="A data set in COCO layout; default: the budget's.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run rows again that have been run.")] = False,
    retries: Annotated[int, typer.Option(min=0, help="How often a crashed run begins again where it was.")] = 1,
    max_hours: Annotated[float | None, typer.Option(min=0, help="Stop after so many hours.")] = None,
    tables: Annotated[Path, typer.Option(help="The folder of tables and budgets.")] = Path("pipelines/tables"),
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Run the rows of a table in parallel, and print it beside the published figures. Rows that have been run already,
    in whatever table, are taken from MLflow; the same command goes on with a table that was interrupted.

    Example: yolab ablate table3 --budget smoke
    """
    from yolab.cli.train import cleared_experiment
    from yolab.cluster.connect import capacity
    from yolab.errors import YolabError
    from yolab.reports import ablation_report as reports
    from yolab.search import ablation_table as described
    from yolab.search import budget as limiting
    from yolab.storage import claim
    from yolab.tracking import mlflow_runs, record

    asked = described.read(table, tables)
    limits = described.read_budget(budget, tables)
    experiments = experiments_of(asked, limits, overrides or [], data, rows or [], seeds)
    base = next(iter(experiments.values()))
    room = capacity()
    checked = cleared_experiment(base, room)
    every = {key: replace(checked, experiment=experiment) for key, experiment in experiments.items()}
    uri = mlflow_runs.tracking_uri(base, home)
    mlflow_runs.check_answers(uri)
    known = {} if fresh else record.finished_by_digest(uri)
    folder = home / f"{asked.name}-{limits.name}"
    folder = claim.unused(home, folder.name) if fresh else claim.last_numbered(home, folder.name) or folder
    work = {"table": asked.name, "budget": limits.name}
    limiting.require_free(folder)
    key = claim.reclaim(folder, work) if folder.exists() else claim.claim(folder, work)
    parent_id = record.open_recorded(checked, uri, folder.name, key, record.tags_of(checked, "table"))
    missing = {place: each for place, each in every.items() if each.digest not in known}
    console.print(f"{len(every) - len(missing)} of {len(every)} runs are there already.", highlight=False)
    why = None
    if missing:
        hours = limiting.Budget(hours=max_hours)
        why = _run(folder, key, uri, parent_id, checked, missing, room, retries, hours, asked.name)
        done = record.finished_by_digest(uri).items()
        known |= {d: run for d, run in done if not fresh or run["tags"].get(record.SWEEP_TAG) == folder.name}

    names = dict.fromkeys(name for name, _ in every)
    results = {name: _result(name, asked, every, known) for name in names}
    results = {name: result for name, result in results.items() if result.runs}
    groups = reports.lines(asked, results)
    files = reports.save(asked, limits.says, groups, folder)
    for file in files:
        mlflow_runs.log_artifact(uri, parent_id, file, "table")
    failed = [f"{name} (seed {seed})" for (name, seed), each in every.items() if each.digest not in known]
    state = ("stopped" if why else "failed") if failed else "finished"
    tags = {record.STATE_TAG: state, record.TABLE_TAG: asked.name}
    tags[record.NOTE_TAG] = next(file for file in files if file.suffix == ".md").read_text()
    mlflow_runs.finish_run(uri, parent_id, "FINISHED" if not failed else "KILLED" if why else "FAILED", tags=tags)
    if as_json:
        print_json({"table": asked.name, "budget": limits.name, "says": limits.says,
                    "lines": [vars(line) for group in groups for line in group]})  # fmt: skip
    else:
        heads = ["row", "", *(described.COLUMNS[column] for column in asked.columns)]
        lines = [reports.as_text(line, asked.columns) for group in groups for line in group]
        print_table(f"{asked.title}\n{limits.says}", heads, lines)
        console.print(f"As CSV, Markdown and LaTeX: {folder}", soft_wrap=True, highlight=False)
    if failed and why:
        console.print(f"Stopped, because {why}. The same command goes on.", soft_wrap=True, highlight=False)
    elif failed:
        raise YolabError(f"These rows did not come to their end: {', '.join(failed)}. `yolab runs` says why.")


def experiments_of(
    table: "Table", budget: "Budget", overrides: Sequence[str], data: Path | None, rows: Sequence[str], seeds: int
) -> dict[tuple[str, int], "Experiment"]:
    """Return what a table runs, by row and seed, its models checked. Raises UsageError."""
    from yolab.data.loaded_data import DEPENDS_ON
    from yolab.errors import UsageError
    from yolab.experiment import changes_of, with_absolute_paths
    from yolab.preflight import check_model
    from yolab.search.ablation_table import experiment_of

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


def _run(
    folder: Path,
    key: str,
    uri: str,
    parent_id: str,
    checked: "CheckedExperiment",
    missing: Mapping[tuple[str, int], "CheckedExperiment"],
    room: Any,
    retries: int,
    limits: Any,
    table: str,
) -> str | None:
    """Run what is missing of a table, a trial for each row and seed; return why the budget stopped it, if it did."""
    from yolab.cli.sweep import run_trials
    from yolab.cluster.ray_tune import Sweep
    from yolab.search.schedulers import scheduler
    from yolab.search.searchers import Listed
    from yolab.tracking import record

    base = checked.experiment.flat()
    points, tags = {}, {}
    for (row, seed), each in missing.items():
        name = f"{_slug(row)}-s{seed}-{each.digest[:6]}"
        points[name] = {path: value for path, value in each.experiment.flat().items() if base[path] != value}
        tags[name] = {record.TABLE_TAG: table, record.ROW_TAG: row, record.SWEEP_TAG: folder.name}
    described = Sweep(
        folder.name,
        key,
        folder.resolve(),
        checked,
        uri,
        parent_id,
        record.tags_of(checked, "trial"),
        Listed(points),
        scheduler("none", checked.experiment.recipe.epochs, 1, 2, None),
        retries,
        own_tags=tags,
    )
    return run_trials(described, room, limits, len(points), "The same command goes on.")


def _chosen(table: "Table", names: Sequence[str]) -> list["Row"]:
    """Return the rows of these names, all that are run if there are none. Raises UsageError with the nearest name."""
    from yolab.errors import UsageError
    from yolab.experiment import nearest

    known = [row.name for row in table.rows() if row.overrides is not None]
    for name in names:
        if name not in known:
            raise UsageError(f"{table.name} has no row {name!r} to run. Did you mean {nearest(name, known)!r}?")
    return [row for row in table.rows() if row.name in (names or known)]


def _result(
    row: str, table: "Table", every: Mapping[tuple[str, int], "CheckedExperiment"], known: Mapping[str, dict[str, Any]]
) -> "Result":
    """Return what the runs of a row came to."""
    from yolab.reports.ablation_report import Result

    checked = [each for (name, _), each in every.items() if name == row]
    found = [known[each.digest] for each in checked if each.digest in known]
    values: dict[str, list[float]] = {column: [] for column in table.columns}
    for run in found:
        values.setdefault("params", []).append(float(run["params"]["params_fused"]) / 1e6)
        values.setdefault("flops", []).append(float(run["params"]["gflops"]))
        values.setdefault("size", []).append(float(run["params"]["data.image_size"]))
        for column, metric in _SCORES.items():
            if column in values and metric in run["metrics"]:
                values[column].append(100 * run["metrics"][metric])
    if "fps" in values and found:
        values["fps"] = [_images_a_second(checked[0])]
    return Result({column: values[column] for column in table.columns}, [run["run_id"] for run in found])


def _images_a_second(checked: "CheckedExperiment") -> float:
    """Return how fast the folded model is here, batch 1, without suppression (Table 2's protocol)."""
    from yolab.evaluation.latency import seconds_an_image
    from yolab.models.device import choose_device
    from yolab.models.fold import fold
    from yolab.models.weights import DetectorSpec

    model = fold(DetectorSpec.of(checked.experiment, checked.names).build()).to(choose_device())
    return 1 / seconds_an_image(model, checked.experiment.data.image_size)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
