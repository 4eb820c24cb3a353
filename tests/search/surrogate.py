"""Searches replayed on recorded learning curves: 64 real trials of the demo, in `curves.json` with how they were made.

python -m tests.search.surrogate searches.png     # 100 seeds, some minutes; prints what the README says
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from types import SimpleNamespace
from unittest.mock import patch

from tests import tiny_set
from yolab.cluster.tune_search import scheduler_of
from yolab.experiment import build
from yolab.search import searchers
from yolab.search.request import SweepRequest
from yolab.search.schedulers import Settings
from yolab.search.search_space import parse

RECORD = json.loads(Path(__file__).with_name("curves.json").read_text())
CURVES = {json.dumps(trial["point"]): trial["ap"] for trial in RECORD["trials"]}
EPOCHS = len(RECORD["trials"][0]["ap"])
ALL = len(CURVES) * EPOCHS
GOOD = max(curve[-1] for curve in CURVES.values()) - 0.005
SEARCHES = (("random", "none"), ("random", "asha"), ("tpe", "none"), ("tpe", "asha"))
AT_ONCE, GRACE, REDUCTION = 2, 5, 3  # the last two are the defaults of `yolab sweep`


def epochs_to_good(searcher: str, scheduling: str, seed: int) -> int:
    """Return how many epochs a search trains until one has an AP within half a point of the best of all; all that there
    are if it stops that trial before."""
    for epoch, ap in enumerate(_searched(searcher, scheduling, seed), start=1):
        if ap >= GOOD:
            return epoch
    return ALL


def _searched(searcher: str, scheduling: str, seed: int) -> Iterator[float]:
    """Yield the AP of every epoch that a search trains, in the order in which they end."""
    base = build({}, tiny_set.experiment(Path("data"), seed=seed), "test")
    space = parse(RECORD["space"], base, "curves.json")
    request = SweepRequest({}, "", {}, searcher, scheduling, ("ap",), len(CURVES), GRACE, REDUCTION, 1)
    points = searchers.find(searcher).build(request, space, base, ("box", "disc"))
    stopper = scheduler_of(scheduling, Settings(EPOCHS, GRACE, REDUCTION, space))
    rows: dict[str, dict] = {}
    given: dict[str, dict] = {}
    running: list[SimpleNamespace] = []
    while True:
        while len(running) < AT_ONCE and (found := _next(points, given, rows)):
            name, given[name] = found
            rows[name] = {"trial": name, "state": "running", "point": given[name]}
            running.append(SimpleNamespace(trial_id=name, curve=CURVES[json.dumps(given[name])], epoch=0))
            stopper.on_trial_add(None, running[-1])
        if not running:
            return
        trial = running.pop(0)
        ap, trial.epoch = trial.curve[trial.epoch], trial.epoch + 1
        result = {"epoch": trial.epoch, "ap": ap}
        stopped = stopper.on_trial_result(None, trial, result) == stopper.STOP
        state = "finished" if trial.epoch == EPOCHS else "stopped early" if stopped else "running"
        rows[trial.trial_id] |= result | {"state": state}
        if state == "running":
            running.append(trial)
        yield ap


def _next(points: searchers.Searcher, given: dict[str, dict], rows: dict[str, dict]) -> tuple[str, dict] | None:
    with patch.object(searchers, "why_not", lambda *_: None):  # all of them were built when they were recorded
        return points.suggest(given, rows)


def main(target: str) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    needed = {searchers: [epochs_to_good(*searchers, seed) for seed in range(100)] for searchers in SEARCHES}
    usual = needed["random", "none"]
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for (searcher, scheduling), epochs in needed.items():
        label = searcher if scheduling == "none" else f"{searcher} with {scheduling}"
        missed = sum(count == ALL for count in epochs)
        print(
            f"{label}: {fmean(epochs):.0f} epochs on average ({fmean(epochs) / fmean(usual):.2f} of random's), "
            f"median {median(epochs):.0f} ({median(epochs) / median(usual):.2f}), {missed} of {len(epochs)} missed it"
        )
        axes.ecdf(epochs, label=label)
    axes.set(xlabel="epochs trained, of all trials", ylabel="share of 100 searches", xlim=(0, ALL))
    axes.set_title("Searches that have come within 0.5 AP of the best of 64 trials")
    axes.legend(loc="lower right")
    figure.savefig(target, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main(sys.argv[1])
