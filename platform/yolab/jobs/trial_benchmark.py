"""What the machinery of a sweep takes, apart from its trials."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from yolab import preflight
from yolab.cluster import ray_tune
from yolab.cluster.capacity import of_this_machine
from yolab.cluster.connect import connected
from yolab.cluster.ray_tune import Trials
from yolab.data import demo
from yolab.data.loaded_data import LoadedData
from yolab.evaluation.score_names import TRIAL_METRICS
from yolab.experiment import Experiment, build, with_absolute_paths
from yolab.jobs.session import Session
from yolab.polling import every_second
from yolab.search.search_space import parse
from yolab.search.searchers import SampledSearcher
from yolab.search.sweep_folder import SweepFolder
from yolab.storage import claim
from yolab.tracking import record
from yolab.training.checkpoint import WEIGHTS
from yolab.training.reporter import Reporter


def trial(trials: int) -> list[dict[str, Any]]:
    """A sweep of trials that learn nothing and take no time, to see what the machinery takes: Ray, MLflow, checkpoints.
    A row for each quarter of the trials: seconds of a trial, how many end in a second, and the driver's memory."""
    with tempfile.TemporaryDirectory() as scratch:
        demo.draw(Path(scratch, "demo"))
        described = {"name": "bench", "model.name": "yolov7-tiny", "data.path": str(Path(scratch, "demo"))}
        experiment = build({}, described | {"recipe.epochs": 3, "recipe.batch": 8}, "bench")
        room = of_this_machine()
        checked = preflight.check(with_absolute_paths(experiment), room)
        space = parse({"recipe.optimiser.lr": {"loguniform": [0.001, 0.1]}}, checked.experiment, "bench")
        session = Session.at(Path(scratch, "runs"))
        folder, uri = SweepFolder(session.storage / "bench"), session.uri_of(checked.experiment)
        claim.claim(folder.place, {})
        outbox = record.opened(folder.place, checked, "bench", record.tags_of(checked, "sweep"))
        outbox.deliver(uri)
        searcher = SampledSearcher(space, checked.experiment, checked.names, None, ("ap",), trials)
        of_trials = record.tags_of(checked, "trial")
        described_trials = Trials(folder, checked, uri, str(outbox.run_id), of_trials, searcher, 0, work=_learn_nothing)
        process, memory = psutil.Process(), list[tuple[int, float]]()
        watched = SweepFolder(folder.place)
        with (
            folder.held(),
            connected(),
            every_second(lambda: memory.append((watched.ended(), process.memory_info().rss / 2**20))),
        ):
            ray_tune.run(described_trials, room)
        done = sorted(folder.rows().values(), key=lambda row: row["time"])
    rows = []
    for quarter in range(4):
        first, last = quarter * trials // 4, (quarter + 1) * trials // 4
        part = done[first:last]
        speed = (len(part) - 1) / (part[-1]["time"] - part[0]["time"])
        at_the_end = next((mib for count, mib in memory if count >= last), memory[-1][1])
        rows.append(
            {
                "case": f"trials {first + 1} to {last}",
                "seconds": float(np.median([row["time"] - row["began"] for row in part])),
                "trials_per_second": speed,
                "driver_mib": round(at_the_end),
            }
        )
    return rows


def _learn_nothing(experiment: Experiment, data: LoadedData, reporter: Reporter) -> None:
    for epoch in range(1, experiment.recipe.epochs + 1):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, WEIGHTS).write_bytes(b"none")
            scores = dict.fromkeys(TRIAL_METRICS, 0.0) | {"ap": experiment.recipe.optimiser.lr}
            reporter.report(epoch, scores, Path(folder))
