"""Two runs side by side, and whether they differ."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from yolab.errors import UsageError
from yolab.evaluation import detections_file, significance
from yolab.evaluation.detect import ImageDetections
from yolab.evaluation.score_names import COUNTS, METRICS
from yolab.evaluation.significance import Interval
from yolab.jobs.result import Result
from yolab.jobs.session import Session
from yolab.jobs.watcher import SILENT, Watcher
from yolab.reports.evaluation_figures import save_differences
from yolab.tracking import find_runs, mlflow_runs, record
from yolab.tracking.tags import DATA_DIGEST_TAG, RECIPE_TAG
from yolab.training.loop import EVALUATION

_ELSEWHERE = ("name", "tracking.", "compute.", "data.path")  # what doesn't make runs different
Run = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison(Result):
    """The difference of AP, second minus first, with its interval at 95 %, of two sets of weights or of two
    recipes; what that means; of both runs the metrics (fractions) and the parameters that differ."""

    about: Literal["weights", "recipes"]
    ap: Interval
    sentence: str
    metrics: dict[str, tuple[float | None, float | None]]
    configuration: dict[str, tuple[str | None, str | None]]

    def document(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "ap": asdict(self.ap),
            "shown": self.ap.is_shown,
            "sentence": self.sentence,
            "metrics": self.metrics,
            "configuration": self.configuration,
        }


def compare(
    first: str,
    second: str,
    *,
    recipes: bool = False,
    resamples: int = 1000,
    report: str | Path | None = None,
    storage: str | Path | None = None,
    uri: str | None = None,
    watcher: Watcher = SILENT,
) -> Comparison:
    """Compare two runs, each a name, an MLflow id, or SWEEP/TRIAL: their weights, by resampling the images so many
    times; or their `recipes`, by all their seeds. `report`: a folder for a picture of where the weights differ most.

    Raises UsageError if there is no such run, if both are one, or if what there is of them can't be compared.
    """
    where = Session.at(storage, uri).uri
    one, other = (find_runs.named_run(where, name) for name in (first, second))
    if one["run_id"] == other["run_id"]:
        raise UsageError(f"{first} and {second} are the same run.")
    settings = [record.settings_of(where, run) for run in (one, other)]
    if recipes:
        if report is not None:
            raise UsageError("--report does nothing with --recipes: leave it out.")
        interval, sentence = _of_recipes(where, one, other, (first, second), watcher)
    else:
        _require_same_data((one, other), settings, (first, second))
        interval, sentence = _of_weights(where, one, other, (first, second), resamples, report, watcher)
    scores = {
        name: (one["metrics"].get(name), other["metrics"].get(name)) for name in METRICS if name in one["metrics"]
    }
    about: Literal["weights", "recipes"] = "recipes" if recipes else "weights"
    return Comparison(about, interval, sentence, scores, _changed(*map(_with_counts, settings, (one, other))))


def _require_same_data(runs: tuple[Run, Run], settings: Sequence[Mapping[str, str]], names: tuple[str, str]) -> None:
    """Raise UsageError if two runs were not scored on the same images with the same classes."""
    digests = [run["tags"].get(DATA_DIGEST_TAG) for run in runs]
    splits = [[each.get(f"data.{part}") for part in ("val", "classes")] for each in settings]
    if digests[0] != digests[1] or splits[0] != splits[1]:
        raise UsageError(
            f"{names[0]} and {names[1]} were scored on different data: evaluate both on one set (`yolab evaluate`)."
        )


def _of_weights(
    uri: str,
    one: Run,
    other: Run,
    names: tuple[str, str],
    resamples: int,
    report: str | Path | None,
    watcher: Watcher,
) -> tuple[Interval, str]:
    """Return the interval between two sets of weights, in AP, and what it means."""
    dataset = record.validation_set_of(uri, one)
    detections = [_detections(uri, run) for run in (one, other)]
    watcher.progress("Resampling the images")
    matches = [significance.match(dataset, each) for each in detections]
    interval = significance.of_weights(matches[0], matches[1], resamples)
    if report:
        picture = Path(report) / "differences.jpg"
        if save_differences(dataset, detections[0], detections[1], picture):
            watcher.note(f"Where they differ most (there, {names[0]}, {names[1]}): {picture}")
    sentence = _sentence("weights", interval, names, "")
    if one["tags"].get(RECIPE_TAG) != other["tags"].get(RECIPE_TAG):
        sentence += " About their recipes this says nothing: that takes several seeds of each, and --recipes."
    return interval, sentence


def _of_recipes(uri: str, one: Run, other: Run, names: tuple[str, str], watcher: Watcher) -> tuple[Interval, str]:
    """Return the interval between the mean scores of two recipes, in AP, and what it means."""
    scores = []
    for run, name in ((one, names[0]), (other, names[1])):
        runs = find_runs.runs_of_recipe(uri, run)
        if len(runs) < 2:
            raise UsageError(
                f"The recipe of {name} has {len(runs)} finished run(s): to speak about recipes, run it with other "
                "seeds (seed=1, seed=2, or `yolab ablate --seeds 3`)."
            )
        scores.append([run["metrics"]["ap"] for run in runs])
    if one["tags"][RECIPE_TAG] == other["tags"][RECIPE_TAG]:
        raise UsageError(f"{names[0]} and {names[1]} are runs of one recipe.")
    for name, values in zip(names, scores):
        told = f"{name}: mean AP {fmean(values):.4f}, standard deviation {stdev(values):.4f}"
        watcher.note(f"{told} over {len(values)} seeds")
    interval = significance.of_recipes(*scores)
    seeds = " and ".join(str(count) for count in dict.fromkeys(map(len, scores)))
    return interval, _sentence("recipes", interval, names, f" with {seeds} seeds")


def _sentence(what: str, interval: Interval, names: tuple[str, str], seeds: str) -> str:
    if not interval.is_shown:
        return (
            f"No difference shown between these {what}{seeds}: it lies between {interval.low:+.4f} and "
            f"{interval.high:+.4f} AP at 95 %."
        )
    low, high = sorted((abs(interval.low), abs(interval.high)))
    better = names[1] if interval.low > 0 else names[0]
    return f"These {what} differ by {low:.4f} to {high:.4f} AP at 95 %{seeds}: {better} is better."


def _detections(uri: str, run: Run) -> list[ImageDetections]:
    epoch = mlflow_runs.last_step(uri, run["run_id"], "ap") or 0
    with tempfile.TemporaryDirectory() as scratch:
        path = mlflow_runs.fetch(
            uri, run["run_id"], f"{EVALUATION}/{detections_file.after_epoch(epoch)}", Path(scratch)
        )
        if path is None:
            raise UsageError(f"MLflow has no detections of {run['name']}: train it again, or compare its recipe.")
        return detections_file.load(path)


def _with_counts(settings: Mapping[str, str], run: Run) -> dict[str, str]:
    """Return the settings of a run, and what its model costs."""
    return {**settings, **{name: f"{run['metrics'][name]:.10g}" for name in COUNTS if name in run["metrics"]}}


def _changed(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    return {
        path: (one.get(path), other.get(path))
        for path in sorted({*one, *other})
        if one.get(path) != other.get(path) and not path.startswith(_ELSEWHERE)
    }
