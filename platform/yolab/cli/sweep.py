"""yolab sweep: a search over an experiment, by Ray Tune."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from yolab.cli.output import JsonOption, console

if TYPE_CHECKING:
    from yolab.cluster.ray_tune import Sweep
    from yolab.preflight import Capacity, CheckedExperiment
    from yolab.search.budget import Budget
    from yolab.search.request import Request
    from yolab.search.searchers import Points

DEFAULT_SPACE = Path("search_spaces/compound_scaling.yaml")


def sweep(
    experiment: Annotated[Path | None, typer.Argument(help="The experiment that every trial starts from.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key.path=value, as often as wanted.")] = None,
    space: Annotated[
        Path | None, typer.Option(help=f"Paths and what may stand there; default: {DEFAULT_SPACE}.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Default: the experiment's name.")] = None,
    searcher: Annotated[
        str, typer.Option(help="random, grid, or tpe, which learns from the trials so far.")
    ] = "random",
    scheduler: Annotated[str | None, typer.Option(help="asha, hyperband, median, pbt or none.")] = None,
    objective: Annotated[
        list[str] | None, typer.Option(help="ap, ap50, ap_small, params, gflops, latency_ms; several give a front.")
    ] = None,
    trials: Annotated[str | None, typer.Option(help="Points to try (16); with --resume, +20 for so many more.")] = None,
    grace: Annotated[int, typer.Option(min=1, help="Epochs that every trial gets before it may be stopped.")] = 5,
    reduction: Annotated[int, typer.Option(min=2, help="asha and hyperband let one of so many go on.")] = 3,
    retries: Annotated[int, typer.Option(min=0, help="How often a crashed trial begins again where it was.")] = 1,
    max_hours: Annotated[float | None, typer.Option(min=0, help="Stop after so many hours.")] = None,
    max_trials: Annotated[int | None, typer.Option(min=1, help="Stop when so many trials have ended.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Stop when so much is spent, at --price.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Of one GPU, or core, for an hour.")] = None,
    warm_start: Annotated[str | None, typer.Option(help="Let tpe learn from the trials of this sweep.")] = None,
    fork: Annotated[str | None, typer.Option(help="As this sweep, in another --space, knowing its trials.")] = None,
    resume: Annotated[str | None, typer.Option(help="Go on with the sweep of this name.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the sweeps.")] = False,
    status: Annotated[str | None, typer.Option(help="Show the trials of this sweep.")] = None,
    stop: Annotated[str | None, typer.Option(help="Stop this sweep, with its state saved.")] = None,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Search a space: trials in parallel, the bad ones stopped early, all of them in MLflow.

    Example: yolab sweep pipelines/experiments/bccd.yaml --space search_spaces/compound_scaling.yaml --name bccd-scaling
    """
    from yolab.cli import sweep_view
    from yolab.errors import UsageError
    from yolab.experiment import NAME, load, yaml_file
    from yolab.search import budget
    from yolab.search.request import Request, known_from, of_folder
    from yolab.storage import claim
    from yolab.tracking import mlflow_runs, record

    ways = {"--resume": resume, "--fork": fork, "--list": listed or None, "--status": status, "--stop": stop}
    taken = [option for option, value in ways.items() if value is not None]
    if len(taken) + (experiment is not None) != 1:
        raise UsageError("Say one thing: an EXPERIMENT to search, or --resume, --fork, --status, --stop or --list.")
    if listed:
        sweep_view.show_all(home, as_json)
        return
    if status or stop:
        folder = _existing(home, str(status or stop))
        if stop and not budget.is_running(folder):
            raise UsageError(f"Nobody works on the sweep {stop}: `yolab sweep --status {stop}` shows how far it is.")
        if stop:
            budget.ask_to_stop(folder)
            console.print(f"{stop} stops within seconds; go on with `yolab sweep --resume {stop}`.", highlight=False)
        else:
            sweep_view.show(folder, as_json)
        return
    limits = budget.Budget(max_hours, max_trials, max_cost, price)
    if resume:
        folder = _existing(home, resume)
        budget.require_free(folder)
        request = of_folder(folder)
        if trials is not None:
            request = request.with_more(_more(trials))
        checked, room = _cleared(request.described())
        if checked.digest != request.digest:
            raise UsageError(f"{resume} can't go on: its data, or the weights that it starts from, have changed since.")
        points = request.points(request.checked(str(folder)), checked)
        claim.extend(folder, request.work())
        _go_on(request, points, checked, room, folder, limits, as_json)
        return
    if fork:
        described = of_folder(_existing(home, fork)).described()
        if space is None:
            raise UsageError(f"Say what to search other than {fork} did: --space FILE.")
    else:
        described = load(Path(str(experiment)), overrides or [])
    name = name or (f"{fork}-fork" if fork else described.name)
    if not re.fullmatch(NAME, name):
        raise UsageError(f"--name can't be {name!r}: take letters, digits, dots, dashes and underscores.")
    if (home / name).exists():
        raise UsageError(f"There is a run or sweep {name} in {home}: go on by --resume {name}, or say another --name.")
    checked, room = _cleared(described)
    objectives = tuple(objective or ["ap"])
    request = Request(
        checked.experiment.model_dump(),
        checked.digest,
        yaml_file.read(space or DEFAULT_SPACE),
        searcher,
        scheduler or ("asha" if objectives == ("ap",) and searcher != "grid" else "none"),
        objectives,
        None if searcher == "grid" and trials is None else _count(trials or "16"),
        grace,
        reduction,
        retries,
    )
    asked = request.checked(str(space or DEFAULT_SPACE))
    if warm_start and searcher != "tpe":
        raise UsageError(f"--warm-start is for --searcher tpe: {searcher} learns from no trials.")
    if warm_start or fork:
        uri = mlflow_runs.tracking_uri(checked.experiment, home)
        request = replace(request, known=known_from(record.trials_of(uri, str(warm_start or fork)), asked))
    points = request.points(asked, checked)
    mlflow_runs.check_answers(mlflow_runs.tracking_uri(checked.experiment, home))
    claim.claim(home / name, request.work())
    _go_on(request, points, checked, room, home / name, limits, as_json)


def _go_on(
    request: "Request",
    points: "Points",
    checked: "CheckedExperiment",
    room: "Capacity",
    folder: Path,
    limits: "Budget",
    as_json: bool,
) -> None:
    """Run what is left of a sweep, and record how it ended."""
    from yolab.cli import sweep_view
    from yolab.cluster.ray_tune import Sweep
    from yolab.reports.search_figures import save_pictures
    from yolab.search import schedulers, search_space
    from yolab.search.searchers import study_of
    from yolab.search.sweep_folder import Events
    from yolab.storage import claim
    from yolab.tracking import mlflow_runs, record

    key, _ = claim.claimed(folder)
    experiment = checked.experiment
    uri = mlflow_runs.tracking_uri(experiment, folder.parent)
    mlflow_runs.check_answers(uri)
    events = Events(folder)
    if not points.left(events.rows()):
        sweep_view.show(folder, as_json)
        return
    space = search_space.parse(request.space, experiment, str(folder))
    described = Sweep(
        folder.name,
        key,
        folder.resolve(),
        checked,
        uri,
        record.open_recorded(checked, uri, folder.name, key, record.tags_of(checked, "sweep")),
        record.tags_of(checked, "trial") | {record.SWEEP_TAG: folder.name, record.SCHEDULER_TAG: request.scheduler},
        points,
        schedulers.scheduler(request.scheduler, experiment.recipe.epochs, request.grace, request.reduction, space),
        request.retries,
        "latency_ms" in request.objectives,
    )
    how_to_go_on = f"Go on with `yolab sweep --resume {folder.name}`; the state is in {folder}."
    why = run_trials(described, room, limits, request.trials, how_to_go_on)
    for picture in save_pictures(
        study_of(space, request.objectives, list(events.rows().values())), folder / "pictures"
    ):
        mlflow_runs.log_artifact(uri, described.parent_id, picture, "sweep")
    rows = [row for row in events.rows().values() if "ap" in row]
    best = max(rows, key=lambda row: row["ap"], default={})
    stopped = why is not None and points.left(events.rows())
    metrics: dict[str, float] = {score: best[score] for score in ("ap", "ap50", "ap_small") if score in best}
    tags = {record.STATE_TAG: "stopped" if stopped else "finished", record.NOTE_TAG: sweep_view.as_markdown(folder)}
    mlflow_runs.finish_run(uri, described.parent_id, "KILLED" if stopped else "FINISHED", metrics, tags)
    if stopped:
        console.print(f"Stopped, because {why}. {how_to_go_on}", soft_wrap=True, highlight=False)
    elif len(events.rows()) < (request.trials or 0):
        console.print(f"The space had no more than {len(events.rows())} different points that can be tried.")
    sweep_view.show(folder, as_json)


def run_trials(
    described: "Sweep", room: "Capacity", limits: "Budget", trials: int | None, how_to_go_on: str
) -> str | None:
    """Run trials and show them while they run; return why they were stopped, if the budget did so. A run that is
    interrupted, or fails, is recorded as such."""
    from yolab.cli import sweep_view
    from yolab.cluster import ray_tune as cluster
    from yolab.cluster.connect import connected
    from yolab.search.budget import watched
    from yolab.search.sweep_folder import Events
    from yolab.tracking import mlflow_runs, record

    folder, compute = described.folder, described.checked.experiment.compute
    devices = compute.workers * (compute.gpus_per_worker or compute.cpus_per_worker)

    def end(status: Literal["FAILED", "KILLED"], **tags: str) -> None:
        mlflow_runs.finish_run(described.uri, described.parent_id, status, tags=tags)

    why: list[str] = []
    try:
        with connected(), watched(folder, limits, devices) as why, sweep_view.display(folder, trials):
            cluster.run(described, room)
        # Ray Tune takes the first Ctrl-C itself, saves its state and returns
        if described.points.left(Events(folder).rows()) and not why:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        if why:
            return why[0]
        end("KILLED", **{record.STATE_TAG: "interrupted"})
        console.print(f"Stopped. {how_to_go_on}", soft_wrap=True, highlight=False)
        raise
    except Exception as error:
        end("FAILED", **{record.STATE_TAG: "failed", record.ERROR_TAG: str(error)})
        raise
    return why[0] if why else None


def _cleared(experiment: Any) -> tuple["CheckedExperiment", "Capacity"]:
    from yolab.cli.train import cleared_experiment
    from yolab.cluster.connect import capacity

    room = capacity()
    return cleared_experiment(experiment, room), room


def _existing(home: Path, name: str) -> Path:
    """Return the folder of a sweep. Raises UsageError with the nearest name."""
    from yolab.cli.sweep_view import sweeps_in
    from yolab.errors import UsageError
    from yolab.experiment import nearest

    names = [folder.name for folder in sweeps_in(home)]
    if name not in names:
        meant = f" Did you mean {nearest(name, names)}?" if names else ""
        raise UsageError(f"There is no sweep {name} in {home}.{meant}")
    return home / name


def _count(text: str) -> int:
    from yolab.errors import UsageError

    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UsageError(f"--trials can't be {text!r}: take a number above 0, or with --resume one such as +20.")
    return int(text)


def _more(text: str) -> int:
    from yolab.errors import UsageError

    if not text.startswith("+"):
        raise UsageError(f"--trials {text}: a sweep that goes on can have more trials, such as --trials +20.")
    return _count(text[1:])
