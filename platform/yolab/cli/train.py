"""yolab train: one run, from an experiment file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from yolab.cli.output import JsonOption, console, print_json, print_table, progress_bar


def train(
    experiment: Annotated[Path, typer.Argument(help="The experiment file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.path=value, as often as wanted.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run of this name.")] = False,
    profile: Annotated[
        int, typer.Option(min=0, help="Trace so many steps with torch's profiler, as trace.json in the run.")
    ] = 0,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Train one detector.

    Example: yolab train pipelines/experiments/bccd.yaml data.path=data/bccd recipe.epochs=30
    """
    from yolab.cluster import ray_train as runner
    from yolab.evaluation.metrics import METRICS
    from yolab.experiment import load
    from yolab.storage import claim
    from yolab.tracking import mlflow_runs, record
    from yolab.training.checkpoint import WEIGHTS
    from yolab.training.loop import EVALUATION
    from yolab.training.reporter import CHECKPOINT

    checked = cleared_experiment(load(experiment, overrides or []))
    described = checked.experiment
    work = {"digest": checked.digest, "workers": described.compute.workers}
    folder = claim.last_used(home, described.name) if resume else claim.unused(home, described.name)
    uri = mlflow_runs.tracking_uri(described, home)
    mlflow_runs.check_answers(uri)
    key = claim.reclaim(folder, work) if resume else claim.claim(folder, work)
    run_id = record.open_recorded(checked, uri, folder.name, key, record.tags_of(checked, "train"))
    try:
        with progress_bar("Training") as bar:
            task = bar.add_task("")
            epochs = described.recipe.epochs

            def on_batch(epoch: int, done: int, total: int) -> None:
                bar.update(task, description=f"epoch {epoch}/{epochs}", completed=done, total=total)

            metrics = runner.run(
                described,
                checked.data,
                folder,
                uri,
                run_id,
                lambda *epoch: _say_epoch(epochs, *epoch),
                on_batch,
                profile,
            )
    except KeyboardInterrupt:
        mlflow_runs.finish_run(uri, run_id, "KILLED", tags={record.STATE_TAG: "interrupted"})
        console.print(f"Stopped. Go on with the same command and --resume; the state is in {folder}.", soft_wrap=True)
        raise
    except Exception as error:
        mlflow_runs.finish_run(uri, run_id, "FAILED", tags={record.STATE_TAG: "failed", record.ERROR_TAG: str(error)})
        raise
    weights = folder / CHECKPOINT / WEIGHTS
    mlflow_runs.log_artifact(uri, run_id, weights)
    for path in _pictures(checked.data.val, folder / EVALUATION):
        mlflow_runs.log_artifact(uri, run_id, path, EVALUATION)
    tags = {record.STATE_TAG: "finished", record.WEIGHTS_TAG: str(weights.resolve())}
    mlflow_runs.finish_run(uri, run_id, "FINISHED", metrics, tags)

    result = {name: metrics[name] for name in METRICS}
    if as_json:
        print_json({"name": folder.name, "run_id": run_id, "weights": str(weights), **result, "metrics": metrics})
    else:
        print_table(folder.name, list(result), [list(result.values())])
        console.print(f"Weights: {weights}", soft_wrap=True)


def _pictures(dataset: Any, evaluations: Path) -> list[Path]:
    """Draw what the last evaluation of a run found."""
    from yolab.evaluation import detections_file
    from yolab.evaluation.metrics import score
    from yolab.reports.evaluation_figures import save_report

    last = detections_file.latest(evaluations)
    if last is None:  # a run that was at its end already when it was resumed
        return []
    detections = detections_file.load(last)
    return save_report(dataset, detections, score(dataset, detections), evaluations)


def cleared_experiment(experiment: Any, room: Any = None) -> Any:
    """Check an experiment before anything is created; say what the data check skips. A run over several workers asks
    for the cluster's capacity by itself, one in this process for this machine's."""
    from yolab import preflight
    from yolab.cluster.connect import capacity, of_this_machine
    from yolab.experiment import with_absolute_paths

    described = with_absolute_paths(experiment)
    if room is None:
        room = capacity() if described.compute.workers > 1 else of_this_machine()
    with progress_bar("Checking the data") as bar:
        task = bar.add_task("", total=None)
        checked = preflight.clear(described, room, lambda done, total: bar.update(task, completed=done, total=total))
    for fault, count in checked.data.skipped.items():
        console.print(f"Skipped {count} × {fault} in the data, as data.on_error=skip says.")
    for warning in checked.warnings:
        console.print(f"[yellow]note:[/yellow] {escape(warning)}", soft_wrap=True, highlight=False)
    return checked


def _say_epoch(epochs: int, epoch: int, metrics: Mapping[str, float]) -> None:
    scores = "".join(f"  {name} {metrics[name]:.3f}" for name in ("ap", "ap50") if name in metrics)
    seconds = metrics["epoch_seconds"]
    console.print(f"epoch {epoch}/{epochs}  loss {metrics['loss']:.4f}{scores}  {seconds:.1f} s", highlight=False)
