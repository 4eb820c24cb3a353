"""A search over an experiment by Ray Tune: trials in parallel, the bad ones stopped early, all of them in MLflow."""

import functools
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler

from yolab.cluster import ray_train as train_cluster
from yolab.cluster.connect import TRIAL_RESOURCE
from yolab.data.loaded_data import LoadedData
from yolab.errors import UsageError, YolabError
from yolab.evaluation.latency import seconds_an_image
from yolab.experiment import Experiment
from yolab.models.device import choose_device
from yolab.models.fold import fold
from yolab.models.weights import DetectorSpec
from yolab.preflight import Capacity, CheckedExperiment
from yolab.search import schedulers, search_space
from yolab.search.searchers import Points, PointSearch
from yolab.search.sweep_folder import ENDED, NAME, POINT, SUCCEEDED, Events
from yolab.storage import claim
from yolab.tracking import mlflow_runs, record
from yolab.tracking.journal import FILE_NAME, read_entries, send_entries
from yolab.tracking.tracked import tracked
from yolab.training.checkpoint import WEIGHTS
from yolab.training.loop import train
from yolab.training.reporter import Reporter, keep_file

_TUNE = "tune"  # and tune-2, … : a part of the sweep each, which Tune restores as a whole
_CHECKPOINTS_BEHIND = 3  # at most, of Tune's notes; one is usual
_KEPT = 2  # checkpoints of a trial; Tune writes its whole state down for every so many
_KEPT_BY_PBT = 4  # because other trials go on from them
_RUN_ID = "run_id"
_FAILURE, _REASON = "failure", "reason"  # what a trial reports last if it can't go on
_SCORES = ("epoch", "ap", "ap50", "ap_small", "latency_ms", "train_seconds", "time_total_s")


@dataclass(frozen=True)
class Sweep:
    """What is searched, and where it is kept: trials at `points` around an experiment, which `scheduler` may end;
    `folder` is `runs/<name>`; trials are children of `parent_id` and carry `tags`, some by their names more. A trial
    that crashes is begun again from its last checkpoint, `retries` times. `work` is what a trial of one worker does."""

    name: str
    key: str
    folder: Path
    checked: CheckedExperiment
    uri: str
    parent_id: str
    tags: dict[str, str]
    points: Points
    scheduler: TrialScheduler
    retries: int
    with_latency: bool = False
    own_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    work: Callable[[Experiment, LoadedData, Reporter], object] = train


class TuneReporter:
    """Reports to the Tune trial that this process runs: no more than the driver needs, because Tune keeps statistics of
    every number and writes all of them down again and again. Files stay in the trial's folder, others in `scratch`."""

    def __init__(self, folder: Path, scratch: Path, run_id: str) -> None:
        self.folder, self.scratch, self.run_id = folder, scratch, run_id
        self.started = time.perf_counter()
        self.epoch, self.last = 0, dict(train_cluster.NO_SCORES)

    def restore(self) -> Path | None:
        return train_cluster.unpacked(tune.get_checkpoint(), self.scratch)

    def report(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        self.last |= {name: value for name, value in metrics.items() if name in self.last}
        self.epoch = epoch
        whole = tune.Checkpoint.from_directory(str(checkpoint)) if checkpoint else None
        seconds = time.perf_counter() - self.started
        told = {**self.last, "epoch": epoch, "train_seconds": seconds, _RUN_ID: self.run_id}
        tune.report(told, checkpoint=whole)

    def end(self, failure: str, reason: str) -> None:
        """Tell the driver that the trial can't go on, and why: to begin it again would end the same way."""
        tune.report({**self.last, "epoch": self.epoch, _FAILURE: failure, _REASON: reason})

    def should_stop(self) -> bool:
        return False

    def save_artifact(self, path: Path, under: str = "") -> Path:
        return keep_file(path, self.folder / under)


def run(sweep: Sweep, capacity: Capacity) -> None:
    """Search until nothing is left to do, or until it is interrupted; the caller is connected to Ray.

    Goes on with a sweep that was interrupted: ended trials are not run again, others go on from their checkpoints.
    Raises YolabError if no trial succeeded.
    """
    experiment = sweep.checked.experiment
    if experiment.compute.workers > 1 and TRIAL_RESOURCE not in ray.cluster_resources():
        raise UsageError(
            "Trials of several workers need a place for their drivers that takes no CPU from the workers: start the "
            f"cluster's head with `ray start --head --resources '{{\"{TRIAL_RESOURCE}\": 1000}}'`."
        )
    data = ray.put(sweep.checked.data)  # once, for all trials
    trainable = tune.with_resources(functools.partial(_trial, sweep=sweep, data=data), _resources_of_trial(sweep))
    events = Events(sweep.folder)
    begun = claim.last_numbered(sweep.folder, _TUNE)
    if begun and any(row["state"] not in ENDED for row in events.rows().values()):
        _replace_missing_checkpoints(begun)
        tune.Tuner.restore(str(begun), trainable=trainable, resume_unfinished=True, restart_errored=True).fit()
        if any(row["state"] not in ENDED for row in events.rows().values()):
            return
    if sweep.points.next({}, events.rows()) is not None:
        _tuner(sweep, trainable, capacity).fit()
    rows = events.rows().values()
    if rows and all(row["state"] == "failed" for row in rows):
        raise YolabError(f"Every trial of {sweep.name} failed; the first: {next(iter(rows))['reason']}")


def _tuner(sweep: Sweep, trainable: Any, capacity: Capacity) -> tune.Tuner:
    """Return Tune, ready for the points that nothing is recorded of."""
    at_once = capacity.at_once(sweep.checked.experiment.compute)
    schedulers.remember(sweep.scheduler, Events(sweep.folder).news())
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            num_samples=-1,  # the points say when there are no more
            max_concurrent_trials=None if _is_pbt(sweep) else at_once,  # PBT lets its trials take turns
            search_alg=PointSearch(sweep.points, sweep.folder),
            scheduler=sweep.scheduler,
            trial_dirname_creator=lambda trial: trial.config[NAME],
        ),
        run_config=tune.RunConfig(
            name=claim.unused(sweep.folder, _TUNE).name,
            storage_path=str(sweep.folder.resolve()),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=_KEPT_BY_PBT if _is_pbt(sweep) else _KEPT),
            failure_config=tune.FailureConfig(max_failures=sweep.retries),
            callbacks=[_Recorder(sweep)],
            verbose=0,
        ),
    )


def _is_pbt(sweep: Sweep) -> bool:
    return isinstance(sweep.scheduler, PopulationBasedTraining)


def _replace_missing_checkpoints(path: Path) -> None:
    """Put the next checkpoint of a trial where an earlier one was. Tune removes that before it has noted the next, so
    when its driver is killed in between it would look for it, in vain."""
    for trial in path.iterdir():
        for first in sorted(trial.glob("checkpoint_*"))[:1]:
            number = int(first.name.split("_")[1])
            for missing in range(max(0, number - _CHECKPOINTS_BEHIND), number):
                shutil.copytree(first, trial / f"checkpoint_{missing:06d}")


def _trial(config: dict[str, Any], sweep: Sweep, data: ray.ObjectRef) -> None:
    """Be one trial: with one worker the run itself, with several the driver of a nested Ray Train run."""
    name = config[NAME]
    if Events(sweep.folder).has_succeeded(name):
        return
    experiment, run_id = _open_run(sweep, name, config[POINT])
    folder = sweep.folder.resolve() / name
    if experiment.compute.workers > 1:
        from ray.tune.integration.ray_train import TuneReportCallback

        train_cluster.fit(experiment, data, folder, sweep.uri, run_id, callbacks=[TuneReportCallback()])
        return
    with tempfile.TemporaryDirectory() as scratch:
        own = TuneReporter(folder, Path(scratch), run_id)
        try:
            with tracked(own, sweep.uri, run_id, Path(scratch)) as reporter:
                if sweep.with_latency:
                    own.last["latency_ms"] = _latency_ms(experiment, sweep.checked.names)
                sweep.work(experiment, ray.get(data), reporter)
        except Exception as error:
            state = "infeasible" if _cannot_fit(error) else "failed"
            if state == "failed" and not isinstance(error, YolabError):
                raise  # it may go well another time
            own.end(state, str(error))


def _latency_ms(experiment: Experiment, names: tuple[str, ...]) -> float:
    """Return milliseconds for an image on the device that the trial has, as measured before it trains."""
    model = fold(DetectorSpec.of(experiment, names).build()).to(choose_device())
    return 1000 * seconds_an_image(model, experiment.data.image_size)


def _cannot_fit(error: Exception) -> bool:
    """Return whether a point is to blame: too large for the memory, or of a shape that can't be."""
    out_of_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
    return out_of_memory or isinstance(error, UsageError)


def _open_run(sweep: Sweep, name: str, point: Mapping[str, Any]) -> tuple[Experiment, str]:
    """Return the experiment of a trial and the id of its MLflow run, the same one each time."""
    experiment = search_space.at(sweep.checked.experiment, point)
    checked = replace(sweep.checked, experiment=experiment)
    key, note = f"{sweep.key}/{name}", "\n".join(f"- `{path}`: {value}" for path, value in point.items())
    tags = {**sweep.tags, record.NOTE_TAG: note, **sweep.own_tags.get(name, {})}
    return experiment, record.open_recorded(checked, sweep.uri, name, key, tags, sweep.parent_id)


class _Recorder(tune.Callback):
    """In the driver: writes what happens to the sweep's events, and ends the trials' runs in MLflow."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.events = Events(sweep.folder)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not self.events.has_succeeded(trial.config[NAME]):
            experiment = search_space.at(self.sweep.checked.experiment, trial.config[POINT])
            counts = search_space.counts_of(experiment, self.sweep.checked.names)
            self._write(trial, "running", {}, began=round(time.time(), 2), epochs=experiment.recipe.epochs, **counts)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "epoch" in result and _FAILURE not in result and not self.events.has_succeeded(trial.config[NAME]):
            self._write(trial, "running", result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self.events.rows().get(trial.config[NAME], {})
        if row.get("state") in SUCCEEDED:
            return
        result = trial.last_result
        if _FAILURE in result:
            self._end_badly(trial, result[_FAILURE], result[_REASON])
            return
        state = "finished" if result.get("epoch") == row["epochs"] else "stopped early"
        checkpoint = Path(trial.checkpoint.path) if trial.checkpoint else Path(result["checkpoint_path"])
        run_id = result.get(_RUN_ID) or self._run_id(trial)
        send_entries(read_entries(checkpoint / FILE_NAME), self.sweep.uri, run_id)
        weights = str(checkpoint / WEIGHTS)
        tags = {record.STATE_TAG: state, record.WEIGHTS_TAG: weights}
        metrics = {"trial_seconds": result["time_total_s"]}
        mlflow_runs.finish_run(self.sweep.uri, run_id, "FINISHED", metrics, tags)
        self._write(trial, state, result, weights=weights, run_id=run_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_error()
        state = "infeasible" if isinstance(error, ray.exceptions.OutOfMemoryError) else "failed"
        self._end_badly(trial, state, str(error).strip().split("\n")[-1])

    def _end_badly(self, trial: Any, state: str, reason: str) -> None:
        self._write(trial, state, {}, reason=reason)
        tags = {record.STATE_TAG: state, record.ERROR_TAG: reason}
        mlflow_runs.finish_run(self.sweep.uri, self._run_id(trial), "FAILED", tags=tags)

    def _run_id(self, trial: Any) -> str:
        return _open_run(self.sweep, trial.config[NAME], trial.config[POINT])[1]

    def _write(self, trial: Any, state: str, result: Mapping[str, Any], **more: Any) -> None:
        event = {"trial": trial.config[NAME], "state": state, "time": round(time.time(), 2)}
        event |= {"point": trial.config[POINT], **more}
        self.events.append(event | {name: result[name] for name in _SCORES if name in result})


def _resources_of_trial(sweep: Sweep) -> Any:
    compute = sweep.checked.experiment.compute
    if compute.workers > 1:
        # the driver of a nested run: a share of a CPU would come out of its own workers' pool
        return tune.PlacementGroupFactory([{TRIAL_RESOURCE: 1}])
    return {"cpu": compute.cpus_per_worker, "gpu": compute.gpus_per_worker}
