"""How sweeps are shown: all of them, the trials of one, and those of one that runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.live import Live

from yolab.cli.output import cell, console, print_json, print_table, table_of

SHORT = {"model.scale.depth": "depth", "model.scale.width": "width", "assigner.top_k": "top_k"}
_IN_NOTE = 20  # trials in MLflow's description
_COUNTED = {"params": "params", "gflops": "GFLOPs"}
_SCORED = {"ap": "AP", "ap50": "AP50", "ap_small": "AP_small"}


def sweeps_in(home: Path) -> list[Path]:
    """Return the folders of all sweeps, the newest first."""
    from yolab.search.request import is_sweep

    folders = [folder for folder in home.iterdir() if is_sweep(folder)] if home.is_dir() else []
    return sorted(folders, key=lambda folder: -(folder / "run.json").stat().st_mtime)


def show_all(home: Path, as_json: bool) -> None:
    """Print the sweeps of a home, the newest first."""
    from yolab.search.budget import is_running
    from yolab.search.request import of_folder
    from yolab.search.sweep_folder import Events

    documents = []
    for folder in sweeps_in(home):
        request, events = of_folder(folder), Events(folder)
        rows = events.rows()
        left = request.trials is None or events.ended() < request.trials
        documents.append(
            {
                "name": folder.name,
                "state": "running" if is_running(folder) else "stopped" if left else "finished",
                "ended": events.ended(),
                "trials": request.trials,
                "ap": max((row.get("ap", 0.0) for row in rows.values()), default=None),
                "searcher": request.searcher,
                "scheduler": request.scheduler,
                "digest": request.digest,
            }
        )
    if as_json:
        print_json(documents)
        return
    columns = ["name", "state", "ended", "trials", "AP", "searcher", "scheduler", "digest"]
    print_table(str(home), columns, [list(document.values()) for document in documents])


def show(folder: Path, as_json: bool) -> None:
    """Print all trials of a sweep, the best first: those of the front where there are several objectives."""
    from yolab.search.sweep_folder import SUCCEEDED

    rows, best = _sorted(folder)
    if as_json:
        print_json([row | {"front": row["trial"] in best} for row in rows] if best else rows)
        return
    columns, lines = _table(folder, rows, best)
    print_table(folder.name, columns, lines)
    for row in rows:
        if "reason" in row and row["state"] not in SUCCEEDED:
            console.print(f"{row['trial']} {row['state']}: {row['reason']}", highlight=False, soft_wrap=True)


def as_markdown(folder: Path) -> str:
    """Return the best trials of a sweep as a table for MLflow's page."""
    rows, best = _sorted(folder)
    columns, lines = _table(folder, rows[:_IN_NOTE], best)
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in (columns, ["---"] * len(columns), *lines))


def _sorted(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of a sweep, the best first, and the names of those on the front of several objectives."""
    from yolab.search.budget import is_running
    from yolab.search.request import of_folder
    from yolab.search.sweep_folder import ENDED, Events, front

    objectives = of_folder(folder).objectives
    rows = list(Events(folder).rows().values())
    best = front(rows, objectives) if len(objectives) > 1 else []
    rows = sorted(rows, key=lambda row: (row["trial"] not in best, -row.get("ap", -1.0)))
    for row in rows:
        row["seconds"] = round(row.get("time_total_s", 0.0), 1)
        if row["state"] not in ENDED and not is_running(folder):
            row["state"] = "stopped"
    return rows, best


def _table(folder: Path, rows: list[dict[str, Any]], best: list[str]) -> tuple[list[str], list[list[Any]]]:
    from yolab.search.request import of_folder

    paths = list(dict.fromkeys(path for row in rows for path in row["point"]))
    measured = [name for name in of_folder(folder).objectives if name not in (*_COUNTED, *_SCORED)]
    lines = []
    for row in rows:
        point = [_short(row["point"].get(path, "-")) for path in paths]
        params = f"{row['params'] / 1e6:.2f} M" if "params" in row else None
        scores = [row.get(name) for name in (*_SCORED, *measured)]
        line = [row["trial"], *point, params, row.get("gflops"), *scores, f"{row['seconds']:.1f}", row["state"]]
        lines.append([*line, "*" * (row["trial"] in best)] if best else line)
    columns = ["trial", *(SHORT.get(path, path) for path in paths), *_COUNTED.values(), *_SCORED.values(), *measured]
    return [*columns, "seconds", "state", *["front"] * bool(best)], lines


@contextmanager
def display(folder: Path, trials: int | None) -> Iterator[None]:
    """Show the trials while they run: a live table, or a line for each change where there is no terminal."""
    from yolab.polling import every_second
    from yolab.search.sweep_folder import ENDED, Events

    events = Events(folder)

    def table() -> Any:
        rows = list(events.rows().values())
        columns = ("trial", "point", "epoch", "AP", "state", "time left")
        shown = [row for row in rows if row["state"] not in ENDED] + [row for row in rows if row["state"] in ENDED][
            ::-1
        ]
        lines = [
            (row["trial"], _point(row["point"]), row.get("epoch", 0), row.get("ap", 0.0), row["state"], _left(row))
            for row in shown[: max(1, console.height - 6)]
        ]
        total = f" of {trials}" if trials else ""
        return table_of(f"{folder.name}: {events.ended()}{total} trials ended", columns, lines)

    def print_news() -> None:
        for event in events.news():
            if event["state"] in ENDED or "epoch" not in event:
                score = f"AP {event['ap']:.3f}" if "ap" in event else event.get("reason", "")
                console.print(event["trial"], _point(event["point"]), event["state"], score, highlight=False)

    if not console.is_terminal:
        events.rows()  # what was printed before a resume is no news
        with every_second(print_news):
            yield
        return
    with Live(table(), console=console, transient=True) as live, every_second(lambda: live.update(table())):
        yield


def _left(row: Mapping[str, Any]) -> str:
    """Return how long a running trial will still take, if nothing stops it."""
    if row["state"] != "running" or "train_seconds" not in row:
        return ""
    seconds = round((row["epochs"] - row["epoch"]) * row["train_seconds"] / row["epoch"])
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _point(config: Mapping[str, Any]) -> str:
    return " ".join(f"{SHORT.get(path, path)}={_short(value)}" for path, value in config.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
