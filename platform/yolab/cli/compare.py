"""yolab compare: two runs side by side, and whether they differ."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolab.cli.output import JsonOption, console, print_json, print_table
from yolab.errors import UsageError

if TYPE_CHECKING:
    from yolab.evaluation.detect import ImageDetections
    from yolab.evaluation.significance import Interval

_ELSEWHERE = ("name", "tracking.", "compute.", "schedule.", "data.path")  # what doesn't make runs different


def compare(
    first: Annotated[str, typer.Argument(help="A run: its name, its MLflow id, or SWEEP/TRIAL.")],
    second: Annotated[str, typer.Argument(help="The run to compare it with.")],
    recipes: Annotated[bool, typer.Option("--recipes", help="Compare the recipes, by all their seeds.")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Of the images, for the weights' interval.")] = 1000,
    report: Annotated[Path | None, typer.Option(help="A folder for a picture of where they differ most.")] = None,
    home: Annotated[Path, typer.Option(help="The folder that keeps the runs.")] = Path("runs"),
    uri: Annotated[
        str | None, typer.Option(help="Of MLflow; default: MLFLOW_TRACKING_URI, else the file in home.")
    ] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Show what two runs scored, how they were described, and whether the difference is more than noise: of these two
    sets of weights, by resampling the images; or of their recipes, which takes runs with several seeds.

    Example: yolab compare scaling/trial-003 scaling/trial-007 --report difference
    """
    from yolab.evaluation.metrics import METRICS
    from yolab.tracking import mlflow_runs, record

    where = uri or mlflow_runs.default_uri(home)
    one, other = (record.named_run(where, name) for name in (first, second))
    if one["run_id"] == other["run_id"]:
        raise UsageError(f"{first} and {second} are the same run.")
    if recipes:
        interval, sentence = _of_recipes(where, one, other, (first, second))
    else:
        interval, sentence = _of_weights(where, one, other, (first, second), resamples, report)
    scores = {
        name: (one["metrics"].get(name), other["metrics"].get(name)) for name in METRICS if name in one["metrics"]
    }
    changed = _changed(one["params"], other["params"])
    if as_json:
        points = {"difference": interval.difference, "low": interval.low, "high": interval.high}
        about = "recipes" if recipes else "weights"
        print_json({"about": about, "ap": points, "shown": interval.is_shown, "sentence": sentence,
                    "metrics": scores, "configuration": changed})  # fmt: skip
        return
    rows = [[name, a, b, _signed(a, b)] for name, (a, b) in scores.items()]
    print_table("metrics", ["", first, second, "difference"], rows)
    print_table("configuration", ["", first, second], [[path, *values] for path, values in changed.items()])
    print(sentence)


def _of_weights(
    uri: str, one: Any, other: Any, names: tuple[str, str], resamples: int, report: Path | None
) -> tuple["Interval", str]:
    """Return the interval between two sets of weights, in AP points, and what it means."""
    from yolab.evaluation import significance
    from yolab.reports.evaluation_figures import save_differences
    from yolab.tracking import record

    tags = [run["tags"].get("yolab.data_digest") for run in (one, other)]
    splits = [[run["params"].get(f"data.{part}") for part in ("val", "classes")] for run in (one, other)]
    if tags[0] != tags[1] or splits[0] != splits[1]:
        raise UsageError(
            f"{names[0]} and {names[1]} were scored on different data: evaluate both on one set (`yolab evaluate`)."
        )
    dataset = record.validation_set_of(one)
    detections = [_detections(uri, run) for run in (one, other)]
    with console.status("Resampling the images …"):
        matches = [significance.match(dataset, each) for each in detections]
        interval = _in_points(significance.of_weights(matches[0], matches[1], resamples))
    if report and save_differences(dataset, detections[0], detections[1], report / "differences.jpg"):
        told = f"Where they differ most (there, {names[0]}, {names[1]}): {report / 'differences.jpg'}"
        console.print(told, soft_wrap=True, highlight=False)
    sentence = _sentence("weights", interval, names, "")
    if one["tags"].get(record.RECIPE_TAG) != other["tags"].get(record.RECIPE_TAG):
        sentence += " About their recipes this says nothing: that takes several seeds of each, and --recipes."
    return interval, sentence


def _of_recipes(uri: str, one: Any, other: Any, names: tuple[str, str]) -> tuple["Interval", str]:
    """Return the interval between the mean scores of two recipes, in AP points, and what it means."""
    from statistics import fmean, stdev

    from yolab.evaluation import significance
    from yolab.tracking import record

    scores = []
    for run, name in ((one, names[0]), (other, names[1])):
        runs = record.runs_of_recipe(uri, run)
        if len(runs) < 2:
            raise UsageError(
                f"The recipe of {name} has {len(runs)} finished run(s): to speak about recipes, run it with other "
                "seeds (seed=1, seed=2, or `yolab ablate --seeds 3`)."
            )
        scores.append([run["metrics"]["ap"] for run in runs])
    if one["tags"][record.RECIPE_TAG] == other["tags"][record.RECIPE_TAG]:
        raise UsageError(f"{names[0]} and {names[1]} are runs of one recipe.")
    for name, values in zip(names, scores):
        told = f"{name}: mean AP {100 * fmean(values):.2f}, standard deviation {100 * stdev(values):.2f}"
        console.print(f"{told} over {len(values)} seeds", highlight=False)
    interval = _in_points(significance.of_recipes(*scores))
    seeds = " and ".join(str(count) for count in dict.fromkeys(map(len, scores)))
    return interval, _sentence("recipes", interval, names, f" with {seeds} seeds")


def _sentence(what: str, interval: "Interval", names: tuple[str, str], seeds: str) -> str:
    if not interval.is_shown:
        return (
            f"No difference shown between these {what}{seeds}: it lies between {interval.low:+.2f} and "
            f"{interval.high:+.2f} AP at 95 %."
        )
    low, high = sorted((abs(interval.low), abs(interval.high)))
    better = names[1] if interval.low > 0 else names[0]
    return f"These {what} differ by {low:.2f} to {high:.2f} AP at 95 %{seeds}: {better} is better."


def _detections(uri: str, run: Mapping[str, Any]) -> "list[ImageDetections]":
    from yolab.evaluation import detections_file
    from yolab.tracking import mlflow_runs
    from yolab.training.loop import EVALUATION

    epoch = mlflow_runs.last_step(uri, run["run_id"], "ap") or 0
    with tempfile.TemporaryDirectory() as scratch:
        path = mlflow_runs.fetch(
            uri, run["run_id"], f"{EVALUATION}/{detections_file.after_epoch(epoch)}", Path(scratch)
        )
        if path is None:
            raise UsageError(f"MLflow has no detections of {run['name']}: train it again, or compare its recipe.")
        return detections_file.load(path)


def _changed(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    return {
        path: (one.get(path), other.get(path))
        for path in sorted({*one, *other})
        if one.get(path) != other.get(path) and not path.startswith(_ELSEWHERE)
    }


def _in_points(interval: "Interval") -> "Interval":
    return type(interval)(100 * interval.difference, 100 * interval.low, 100 * interval.high)


def _signed(one: float | None, other: float | None) -> str | None:
    return None if one is None or other is None else f"{other - one:+.3f}"
