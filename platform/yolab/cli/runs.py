"""yolab runs: what MLflow knows of runs and trials."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from yolab.cli.output import JsonOption, console, print_json, print_table

COLUMNS = ("name", "state", "AP", "AP50", "started", "seconds", "model", "digest")


def runs(
    experiment: Annotated[str | None, typer.Option(help="Only this MLflow experiment.")] = None,
    sweep: Annotated[str | None, typer.Option(help="Only the trials of this sweep.")] = None,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    uri: Annotated[
        str | None, typer.Option(help="Of MLflow; default: MLFLOW_TRACKING_URI, else the file in home.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="MLflow's filter, such as \"metrics.ap > 0.3 and tags.`yolab.kind` = 'trial'\".")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Write them to this .parquet or .csv file.")] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """List runs, the newest first; or export them with all parameters, metrics and tags.

    Example: yolab runs --sweep bccd-scaling --where "metrics.ap > 0.3" --export runs.parquet
    """
    from yolab.tracking import mlflow_runs as tracking
    from yolab.tracking import record, runs_frame

    place = uri or tracking.default_uri(home)
    parent = record.sweep_run(place, sweep, experiment)["run_id"] if sweep else None
    found = tracking.list_runs(place, experiment, parent, where=where)
    if export:
        runs_frame.export(found, export)
        console.print(f"{len(found)} runs: {export}", highlight=False, soft_wrap=True)
        return
    if as_json:
        print_json(found)
        return
    print_table(tracking.without_password(place), COLUMNS, [_row(run) for run in found])
    if not found:
        console.print("No runs yet: `yolab train EXPERIMENT.yaml` makes one.", markup=False)


def _row(run: dict[str, Any]) -> list[Any]:
    from yolab.tracking.record import DIGEST_TAG, STATE_TAG

    started, ended = run["start_time"], run["end_time"]
    return [
        run["name"],
        run["tags"].get(STATE_TAG, run["status"].lower()) if ended else "running",
        run["metrics"].get("ap"),
        run["metrics"].get("ap50"),
        datetime.fromtimestamp(started / 1000).strftime("%Y-%m-%d %H:%M:%S"),
        f"{(ended - started) / 1000:.1f}" if ended else None,
        run["params"].get("model.name"),
        run["tags"].get(DIGEST_TAG),
    ]
