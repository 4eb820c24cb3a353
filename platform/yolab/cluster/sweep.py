"""A search over an experiment by Ray Tune: trials in parallel, the bad ones stopped early, all of them in MLflow."""

import functools
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from yolab.cluster import spaces
from yolab.cluster import train as train_cluster
from yolab.cluster.connect import TRIAL_RESOURCE
from yolab.errors import UsageError, YolabError
from yolab.experiment import Experiment
from yolab.preflight import Capacity, Cleared
from yolab.tracking import record, runs
from yolab.tracking.journal import FILE_NAME, read_entries, send_entries
from yolab.tracking.reporter import tracked
from yolab.training.checkpoint import WEIGHTS
from yolab.training.loop import train
from yolab.training.reporter import keep_file

EVENTS = "events.jsonl"
SUCCEEDED = ("finished", "stopped early")
ENDED = (*SUCCEEDED, "failed")
_TUNE = "tune"
_POINT = "point"
_CHECKPOINTS_BEHIND = 3  # at most, of Tune's notes; one is usual


@dataclass(frozen=True)
class Sweep:
    """What a sweep searches, and where it is kept: `points` are values by dotted path, one a trial; `folder` is
    `runs/<name>`; trials are children of `parent_id` and carry `tags`."""

    name: str
    key: str
    folder: Path
    cleared: Cleared
    uri: str
    parent_id: str
    tags: dict[str, str]
    points: tuple[dict[str, Any], ...]
    grace_epochs: int
    reduction: int


class TuneReporter:
    """Reports to the Tune trial that this process runs. Files stay in the trial's folder, others in `scratch`."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.started = time.perf_counter()
        self.last = dict(train_cluster.NO_SCORES)

    def restore(self) -> Path | None:
        return train_cluster.unpacked(tune.get_checkpoint(), self.scratch)

    def report(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        self.last |= metrics
        whole = tune.Checkpoint.from_directory(str(checkpoint)) if checkpoint else None
        seconds = time.perf_counter() - self.started
        tune.report({**self.last, "epoch": epoch, "train_seconds": seconds}, checkpoint=whole)

    def should_stop(self) -> bool:
        return False

    def save_artifact(self, path: Path, under: str = "") -> Path:
        return keep_file(path, self.folder / under)


def run(sweep: Sweep, capacity: Capacity) -> None:
    """Search until every trial has ended; the caller is connected to Ray.

    Goes on with a sweep that was interrupted: ended trials are not run again, others go on from their checkpoints.
    Raises YolabError if no trial succeeded.
    """
    experiment = sweep.cleared.experiment
    if experiment.compute.workers > 1 and TRIAL_RESOURCE not in ray.cluster_resources():
        raise UsageError(
            "Trials of several workers need a place for their drivers that takes no CPU from the workers: start the "
            f"cluster's head with `ray start --head --resources '{{\"{TRIAL_RESOURCE}\": 1000}}'`."
        )
    trainable = tune.with_resources(functools.partial(_trial, sweep=sweep), _resources_of_trial(sweep))
    path = sweep.folder.resolve() / _TUNE
    if tune.Tuner.can_restore(str(path)):
        _replace_missing_checkpoints(path)
        tuner = tune.Tuner.restore(str(path), trainable=trainable, resume_unfinished=True, restart_errored=True)
    else:
        compute = experiment.compute
        at_once = capacity.cpus // (compute.workers * compute.cpus_per_worker)
        if compute.gpus_per_worker:
            at_once = min(at_once, capacity.gpus // (compute.workers * compute.gpus_per_worker))
        tuner = tune.Tuner(
            trainable,
            param_space={_POINT: tune.grid_search(list(sweep.points))},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                metric="ap",
                mode="max",
                search_alg=tune.search.BasicVariantGenerator(max_concurrent=at_once),
                scheduler=ASHAScheduler(
                    time_attr="epoch",
                    max_t=experiment.recipe.epochs,
                    grace_period=min(sweep.grace_epochs, experiment.recipe.epochs),
                    reduction_factor=sweep.reduction,
                    stop_last_trials=False,
                ),
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=_TUNE,
                storage_path=str(sweep.folder.resolve()),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
                callbacks=[_Recorder(sweep)],
                verbose=0,
            ),
        )
    results = tuner.fit()
    if len(results) and results.num_errors == len(results):
        raise YolabError(f"Every trial of {sweep.name} failed; the first: {results.errors[0]}")


def _replace_missing_checkpoints(path: Path) -> None:
    """Put the next checkpoint of a trial where an earlier one was. Tune removes that before it has noted the next, so
    when its driver is killed in between it would look for it, in vain."""
    for trial in path.iterdir():
        for first in sorted(trial.glob("checkpoint_*"))[:1]:
            number = int(first.name.split("_")[1])
            for missing in range(max(0, number - _CHECKPOINTS_BEHIND), number):
                shutil.copytree(first, trial / f"checkpoint_{missing:06d}")


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return what has been recorded of a sweep's trials, in order; a line torn by a kill is left out."""
    path = folder / EVENTS
    lines = path.read_text().splitlines() if path.exists() else []
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the last that is known of each trial, in the order of their numbers."""
    last: dict[str, dict[str, Any]] = {}
    for event in read_events(folder):
        last[event["trial"]] = last.get(event["trial"], {}) | event
    return [last[trial] for trial in sorted(last)]


def has_succeeded(folder: Path, trial: str) -> bool:
    """Return whether a trial has ended well. Tune may not have noted it yet when its driver was killed."""
    return any(event["trial"] == trial and event["state"] in SUCCEEDED for event in read_events(folder))


def _trial(config: dict[str, Any], sweep: Sweep) -> None:
    """Be one trial: with one worker the run itself, with several the driver of a nested Ray Train run."""
    number = _number(tune.get_context().get_trial_id())
    if has_succeeded(sweep.folder, number):
        return
    experiment, run_id = _open_run(sweep, number, config[_POINT])
    folder = sweep.folder.resolve() / number
    if experiment.compute.workers > 1:
        from ray.tune.integration.ray_train import TuneReportCallback

        train_cluster.fit(experiment, folder, sweep.uri, run_id, callbacks=[TuneReportCallback()])
        return
    with (
        tempfile.TemporaryDirectory() as scratch,
        tracked(TuneReporter(folder, Path(scratch)), sweep.uri, run_id, Path(scratch)) as reporter,
    ):
        train(experiment, reporter)


def _open_run(sweep: Sweep, number: str, point: Mapping[str, Any]) -> tuple[Experiment, str]:
    """Return the experiment of a trial and the id of its MLflow run, the same one each time."""
    experiment = spaces.at(sweep.cleared.experiment, point)
    cleared = replace(sweep.cleared, experiment=experiment)
    key = f"{sweep.key}/{number}"
    return experiment, record.open_recorded(cleared, sweep.uri, number, key, sweep.tags, sweep.parent_id)


class _Recorder(tune.Callback):
    """In the driver: writes what happens to the sweep's events, and ends the trials' runs in MLflow."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not has_succeeded(self.sweep.folder, _number(trial.trial_id)):
            self._write(trial, "running")

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "epoch" in result and not has_succeeded(self.sweep.folder, _number(trial.trial_id)):
            self._write(trial, "running", result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if has_succeeded(self.sweep.folder, _number(trial.trial_id)):
            return
        result = trial.last_result
        experiment = self.sweep.cleared.experiment
        state = "finished" if result.get("epoch") == experiment.recipe.epochs else "stopped early"
        checkpoint = Path(trial.checkpoint.path) if trial.checkpoint else Path(result["checkpoint_path"])
        run_id = self._run_id(trial)
        send_entries(read_entries(checkpoint / FILE_NAME), self.sweep.uri, run_id)
        weights = str(checkpoint / WEIGHTS)
        tags = {record.STATE_TAG: state, record.WEIGHTS_TAG: weights}
        metrics = {"trial_seconds": result["time_total_s"]}
        runs.finish_run(self.sweep.uri, run_id, "FINISHED", metrics, tags)
        self._write(trial, state, result, weights=weights, run_id=run_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._write(trial, "failed")
        tags = {record.STATE_TAG: "failed", record.ERROR_TAG: str(trial.get_error()).strip().split("\n")[-1]}
        runs.finish_run(self.sweep.uri, self._run_id(trial), "FAILED", tags=tags)

    def _run_id(self, trial: Any) -> str:
        return _open_run(self.sweep, _number(trial.trial_id), trial.config[_POINT])[1]

    def _write(self, trial: Any, state: str, result: Mapping[str, Any] | None = None, **more: str) -> None:
        event: dict[str, Any] = {"trial": _number(trial.trial_id), "state": state, "time": round(time.time(), 2)}
        event |= {"point": trial.config[_POINT], **more}
        for name in ("epoch", "ap", "ap50", "ap_small", "train_seconds", "time_total_s"):
            if result and name in result:
                event[name] = result[name]
        with (self.sweep.folder / EVENTS).open("a") as file:
            file.write(json.dumps(event) + "\n")


def _resources_of_trial(sweep: Sweep) -> Any:
    compute = sweep.cleared.experiment.compute
    if compute.workers > 1:
        # the driver of a nested run: a share of a CPU would come out of its own workers' pool
        return tune.PlacementGroupFactory([{TRIAL_RESOURCE: 1}])
    return {"cpu": compute.cpus_per_worker, "gpu": compute.gpus_per_worker}


def _number(trial_id: str) -> str:
    """Return "trial-003" of Tune's "1a2b3_00003"."""
    return f"trial-{int(trial_id.split('_')[-1]):03d}"
