"""yolab sweep: a search over an experiment, by Ray Tune."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from yolab.cli.output import JsonOption, console, print_json, print_table, table_of

_SHORT = {"model.scale.depth": "depth", "model.scale.width": "width", "assigner.top_k": "top_k"}


def sweep(
    experiment: Annotated[Path, typer.Argument(help="The experiment that every trial starts from.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.path=value, as often as wanted.")] = None,
    space: Annotated[Path, typer.Option(help="The search space: paths and what may stand there.")] = Path(
        "search_spaces/compound_scaling.yaml"
    ),
    name: Annotated[str | None, typer.Option(help="Default: the experiment's name.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Points to try.")] = 16,
    grace: Annotated[int, typer.Option(min=1, help="Epochs that every trial gets before ASHA may stop it.")] = 5,
    reduction: Annotated[int, typer.Option(min=2, help="ASHA lets one of so many go on.")] = 3,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep of this name.")] = False,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Search a space: trials in parallel, the bad ones stopped early by ASHA, all of them in MLflow.

    Example: yolab sweep pipelines/experiments/bccd.yaml --space search_spaces/compound_scaling.yaml --name bccd-scaling
    """
    from yolab import preflight
    from yolab.cli.train import cleared_experiment
    from yolab.cluster import spaces
    from yolab.cluster import sweep as search
    from yolab.cluster.connect import capacity
    from yolab.errors import UsageError
    from yolab.experiment import NAME
    from yolab.tracking import folders, record, runs

    room = capacity()
    cleared = cleared_experiment(experiment, overrides or [], room)
    domains = spaces.read(space, cleared.experiment)
    points = tuple(spaces.draw(domains, trials, cleared.experiment.seed))
    for point in points:
        preflight.check_model(spaces.at(cleared.experiment, point))
    name = name or cleared.experiment.name
    if not re.fullmatch(NAME, name):
        raise UsageError(f"--name can't be {name!r}: take letters, digits, dots, dashes and underscores.")
    folder = home / name
    work = {"digest": cleared.digest, "space": domains, "trials": trials, "grace": grace, "reduction": reduction}
    if folder.exists() and not resume:
        raise UsageError(f"There is a run or sweep {name} in {home}: go on by --resume, or say another --name.")
    if resume and not folder.exists():
        raise UsageError(f"There is no sweep {name} in {home} to go on with: leave out --resume.")
    uri = runs.tracking_uri(cleared.experiment, home)
    runs.check_answers(uri)
    key = folders.reclaim(folder, work) if resume else folders.claim(folder, work)
    if _ended(folder) < trials:
        parent_id = record.open_recorded(cleared, uri, name, key, record.tags_of(cleared, "sweep"))
        tags = record.tags_of(cleared, "trial")
        _search(
            search.Sweep(name, key, folder.resolve(), cleared, uri, parent_id, tags, points, grace, reduction), room
        )
    _show(cleared, folder, domains, as_json)


def _search(described: Any, room: Any) -> None:
    """Run what is left of a sweep, and record how it ended."""
    from yolab.cluster import sweep as search
    from yolab.cluster.connect import connected
    from yolab.tracking import record, runs

    def end(status: Any, state: str, **more: Any) -> None:
        runs.finish_run(described.uri, described.parent_id, status, tags={record.STATE_TAG: state}, **more)

    folder = described.folder
    try:
        with connected(), _display(folder, len(described.points)):
            search.run(described, room)
        # Ray Tune takes the first Ctrl-C itself, saves its state and returns
        if _ended(folder) < len(described.points):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        end("KILLED", "interrupted")
        console.print(f"Stopped. Go on with the same command and --resume; the state is in {folder}.", soft_wrap=True)
        raise
    except Exception:
        end("FAILED", "failed")
        raise
    best = max(search.rows(folder), key=lambda row: row.get("ap", 0.0))
    end("FINISHED", "finished", metrics={score: best[score] for score in ("ap", "ap50", "ap_small") if score in best})


def _ended(folder: Path) -> int:
    from yolab.cluster.sweep import ENDED, rows

    return sum(row["state"] in ENDED for row in rows(folder))


def _show(cleared: Any, folder: Path, domains: dict[str, Any], as_json: bool) -> None:
    """Print the table of all trials, the best first."""
    from yolab.cluster.spaces import at
    from yolab.cluster.sweep import rows
    from yolab.models.count import cost
    from yolab.models.weights import Description

    table, documents = [], []
    for row in sorted(rows(folder), key=lambda row: -row.get("ap", -1.0)):
        described = at(cleared.experiment, row["point"])
        about = Description.of(described, cleared.names)
        counted = cost(about.blueprint(), len(cleared.names), described.data.image_size)
        scores = [row.get(score) for score in ("ap", "ap50", "ap_small")]
        seconds = round(row.get("time_total_s", 0.0), 1)
        point = [_short(row["point"].get(path)) for path in domains]
        table.append(
            [row["trial"], *point, f"{counted.params / 1e6:.2f} M", counted.gflops, *scores, str(seconds), row["state"]]
        )
        documents.append(row | {"params": counted.params, "gflops": counted.gflops, "seconds": seconds})
    if as_json:
        print_json(documents)
        return
    columns = ["trial", *(_SHORT.get(path, path) for path in domains)]
    print_table(folder.name, [*columns, "params", "GFLOPs", "AP", "AP50", "AP_small", "seconds", "state"], table)


@contextmanager
def _display(folder: Path, trials: int) -> Iterator[None]:
    """Show the trials while they run: a live table, or a line for each change where there is no terminal."""
    from yolab.cluster.sweep import ENDED, read_events, rows
    from yolab.cluster.watching import every_second

    shown = 0

    def table() -> Any:
        columns = ("trial", "point", "epoch", "AP", "state")
        lines = [
            (row["trial"], _point(row["point"]), row.get("epoch", 0), row.get("ap", 0.0), row["state"])
            for row in rows(folder)
        ]
        return table_of(f"{folder.name}: {_ended(folder)} of {trials} trials ended", columns, lines)

    def print_news() -> None:
        nonlocal shown
        events = read_events(folder)
        for event in events[shown:]:
            if event["state"] in ENDED or "epoch" not in event:
                score = f"AP {event['ap']:.3f}" if "ap" in event else ""
                console.print(event["trial"], _point(event["point"]), event["state"], score, highlight=False)
        shown = len(events)

    if not console.is_terminal:
        with every_second(print_news):
            yield
        return
    with Live(table(), console=console, transient=True) as live, every_second(lambda: live.update(table())):
        yield


def _point(config: dict[str, Any]) -> str:
    return " ".join(f"{_SHORT.get(path, path)}={_short(value)}" for path, value in config.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
