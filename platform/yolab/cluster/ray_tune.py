"""The trials of a sweep or a table by Ray Tune: in parallel, the bad ones stopped early, all of them in MLflow."""

import functools
import importlib
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
import torch
from ray import cloudpickle, tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher as TuneSearcher

from yolab.cluster import ray_train
from yolab.cluster.connect import TRIAL_RESOURCE
from yolab.cluster.nodes import require_reach
from yolab.data.loaded_data import LoadedData
from yolab.errors import UsageError, YolabError
from yolab.evaluation.latency import seconds_of
from yolab.evaluation.score_names import LATENCY
from yolab.experiment import Experiment
from yolab.models.spec import DetectorSpec
from yolab.preflight import Capacity, CheckedExperiment
from yolab.search import schedulers, search_space
from yolab.search.schedulers import Settings
from yolab.search.search_space import Point
from yolab.search.searchers import Searcher
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import NAME, POINT, Row, TrialState, state_of, title
from yolab.storage import claim
from yolab.tracking import record, tags
from yolab.tracking.journal import FILE_NAME
from yolab.tracking.outbox import Outbox
from yolab.tracking.tracked import tracked
from yolab.training.checkpoint import WEIGHTS
from yolab.training.loop import train
from yolab.training.patience import ended_by_patience
from yolab.training.reporter import CheckpointStore, Reporter

logger = logging.getLogger(__name__)

_TUNE = "tune"  # and tune-2, … : a part of the sweep each, which Tune restores as a whole
_CHECKPOINTS_BEHIND = 3  # at most, of Tune's notes; one is usual
_KEPT = 2  # checkpoints of a trial; Tune writes its whole state down for every so many
_KEPT_FOR_OTHERS = 4  # where other trials go on from them
_FAILURE, _REASON = "failure", "reason"  # what a trial reports last if it can't go on
_NOTED = ("epoch", *ray_train.NO_SCORES, LATENCY, "train_seconds", "time_total_s")  # of a report, in the events


@dataclass(frozen=True)
class Trials:
    """What Tune runs: trials at the points of a `searcher` around an experiment, which a scheduler, by its name, may
    end; what happens to them is kept in `folder`. They are children of the MLflow run `parent_id` and carry `tags`,
    some by their names more. A trial that crashes is begun again from its last checkpoint, `retries` times. `work` is
    what a trial of one worker does."""

    folder: SweepFolder
    checked: CheckedExperiment
    uri: str
    parent_id: str
    tags: Mapping[str, str]
    searcher: Searcher
    retries: int
    scheduler: str = "none"
    settings: Settings | None = None
    with_latency: bool = False
    own_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    work: Callable[[Experiment, LoadedData, Reporter], object] = train

    @property
    def path(self) -> Path:
        return self.folder.place.path


def run(trials: Trials, capacity: Capacity) -> None:
    """Run trials until nothing is left to do, or until it is interrupted; the caller is connected to Ray.

    Goes on with a sweep that was interrupted: ended trials are not run again, others go on from their checkpoints.
    Raises YolabError if a node doesn't reach the folder or the data, or if no trial succeeded.
    """
    experiment = trials.checked.experiment
    if experiment.compute.workers > 1 and TRIAL_RESOURCE not in ray.cluster_resources():
        raise UsageError(
            "Trials of several workers need a place for their drivers that takes no CPU from the workers: start the "
            f"cluster's head with `ray start --head --resources '{{\"{TRIAL_RESOURCE}\": 1000}}'`."
        )
    require_reach(experiment, trials.path)
    folder = trials.folder
    key = folder.key
    data = ray.put(trials.checked.data)  # once, for all trials
    done = frozenset(name for name, row in folder.rows().items() if state_of(row).has_succeeded)
    trial = functools.partial(_trial, trials=trials, key=key, data=data, done=done)
    trainable = tune.with_resources(trial, _resources_of_trial(experiment))
    begun = claim.last_numbered(folder.place, _TUNE)
    left = _restored(begun.path, trainable) if begun and _goes_on(folder) else None
    if left:
        left.fit()
        if _goes_on(folder):
            return
    if trials.searcher.suggest({}, folder.rows()) is not None:
        _tuner(trials, key, trainable, capacity).fit()
    rows = folder.rows().values()
    if rows and all(state_of(row) is TrialState.FAILED for row in rows):
        raise YolabError(f"Every trial of {folder.name} failed; the first: {next(iter(rows))['reason']}")


def _restored(path: Path, trainable: Any) -> tune.Tuner | None:
    """Return Tune as it was left in a folder, None if what it noted was written by a yolab that is no more."""
    _replace_missing_checkpoints(path)
    try:
        return tune.Tuner.restore(str(path), trainable=trainable, resume_unfinished=True, restart_errored=True)
    except (ImportError, AttributeError) as error:  # it is pickled, classes by their names
        logger.warning("An earlier yolab began %s (%s): its unfinished trials begin anew.", path.parent.name, error)
        return None


def _goes_on(folder: SweepFolder) -> bool:
    return any(not state_of(row).has_ended for row in folder.rows().values())


def _tuner(trials: Trials, key: str, trainable: Any, capacity: Capacity) -> tune.Tuner:
    """Return Tune, ready for the points that nothing is recorded of."""
    at_once = capacity.at_once(trials.checked.experiment.compute)
    hands_on = schedulers.changes_points(trials.scheduler)  # then all trials take turns
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            num_samples=-1,  # the searcher says when there are no more
            max_concurrent_trials=None if hands_on else at_once,
            search_alg=PointSearcher(trials.searcher, trials.folder),
            scheduler=scheduler_of(trials.scheduler, trials.settings, SweepFolder(trials.folder.place).news()),
            trial_dirname_creator=lambda trial: trial.config[NAME],
        ),
        run_config=tune.RunConfig(
            name=claim.unused(trials.folder.place, _TUNE).name,
            storage_path=str(trials.path),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=_KEPT_FOR_OTHERS if hands_on else _KEPT),
            failure_config=tune.FailureConfig(max_failures=trials.retries),
            callbacks=[_Recorder(trials, key)],
            verbose=0,
        ),
    )


def scheduler_of(name: str, settings: Settings | None, earlier: Sequence[Row]) -> TrialScheduler:
    """Return Tune's scheduler of a name, told what the trials of a sweep's earlier parts came to, which Tune has
    forgotten, if it can hold new ones against them."""
    row = schedulers.find(name)
    described = row.build(settings or Settings(1))
    module, _, kind = described.path.partition(":")
    scheduler: TrialScheduler = getattr(importlib.import_module(module), kind)(**described.arguments)
    for event in earlier if row.remembers else ():
        trial = SimpleNamespace(trial_id=event[NAME])
        scheduler.on_trial_add(None, trial)
        scheduler.on_trial_result(None, trial, event)
        scheduler.on_trial_remove(None, trial)
    return scheduler


class PointSearcher(TuneSearcher):
    """Gives Tune's trials their names and points. What the trials came to it reads from the sweep's folder, so all that
    it has to remember is what it gave."""

    def __init__(self, searcher: Searcher, folder: SweepFolder) -> None:
        super().__init__(metric="ap", mode="max")
        self.source = searcher  # not `searcher`: Tune takes that for one that it wraps
        self.folder = SweepFolder(folder.place)
        self.given: dict[str, Point] = {}

    def suggest(self, trial_id: str) -> Any:
        found = self.source.suggest(self.given, self.folder.rows())
        if found is None:
            return TuneSearcher.FINISHED
        name, point = found
        self.given[name] = point
        return {NAME: name, POINT: point}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_bytes(cloudpickle.dumps(self.given))

    def restore(self, checkpoint_path: str) -> None:
        self.given = cloudpickle.loads(Path(checkpoint_path).read_bytes())
        self.folder = SweepFolder(self.folder.place)


def _replace_missing_checkpoints(path: Path) -> None:
    """Put the next checkpoint of a trial where an earlier one was. Tune removes that before it has noted the next, so
    when its driver is killed in between it would look for it, in vain."""
    for trial in path.iterdir():
        for first in sorted(trial.glob("checkpoint_*"))[:1]:
            number = int(first.name.split("_")[1])
            for missing in range(max(0, number - _CHECKPOINTS_BEHIND), number):
                shutil.copytree(first, trial / f"checkpoint_{missing:06d}")


class TuneCheckpoints(CheckpointStore):
    """The checkpoints of the Tune trial that this process runs. Tune is told no more than the driver needs, because it
    keeps statistics of every number and writes all of them down again and again."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.started = time.perf_counter()
        self.epoch, self.told = 0, dict(ray_train.NO_SCORES)
        self.stopped_early = False

    def kept(self) -> Iterator[Path]:
        return ray_train.unpacked(tune.get_checkpoint(), self.scratch)

    def save(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        self.told |= {name: value for name, value in metrics.items() if name in self.told}
        self.epoch = epoch
        whole = tune.Checkpoint.from_directory(str(checkpoint)) if checkpoint else None
        seconds = time.perf_counter() - self.started
        told = {**self.told, "epoch": epoch, "train_seconds": seconds}
        try:
            tune.report(told, checkpoint=whole)
        except SystemExit:  # so Tune ends a trial that its scheduler stopped
            self.stopped_early = True

    def should_stop(self) -> bool:
        return self.stopped_early

    def end(self, failure: TrialState, reason: str) -> None:
        """Tell the driver that the trial can't go on, and why: to begin it again would end the same way."""
        tune.report({**self.told, "epoch": self.epoch, _FAILURE: str(failure), _REASON: reason})


def _trial(config: dict[str, Any], trials: Trials, key: str, data: ray.ObjectRef, done: frozenset[str]) -> None:
    """Be one trial: with one worker the run itself, with several the driver of a nested Ray Train run. Those that are
    `done` Tune had not noted when its driver was killed."""
    name = config[NAME]
    if name in done:
        return
    experiment, _ = _opened(trials, key, name, config[POINT])
    folder = trials.path / name
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = TuneCheckpoints(Path(scratch))
        try:
            if experiment.compute.workers > 1:
                ray_train.fit(experiment, data, folder, trials.uri, callbacks=[TuneReportCallback()])
                return
            with tracked(folder, trials.uri, Path(scratch)) as tracking:
                if trials.with_latency:
                    spec = DetectorSpec.of(experiment, trials.checked.names)
                    checkpoints.told[LATENCY] = 1000 * seconds_of(spec)  # on the device that the trial has
                trials.work(experiment, ray.get(data), Reporter(folder, checkpoints, [tracking]))
        except Exception as error:
            state = TrialState.INFEASIBLE if _cannot_fit(error) else TrialState.FAILED
            if state is TrialState.FAILED and not isinstance(error, YolabError):
                raise  # it may go well another time
            checkpoints.end(state, str(error))
        if checkpoints.stopped_early:
            sys.exit(0)  # what Tune takes for the end of a trial that it stopped; a return it would take for a report


def _cannot_fit(error: Exception) -> bool:
    """Return whether a point is to blame: too large for the memory, or of a shape that can't be."""
    out_of_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
    return out_of_memory or isinstance(error, UsageError)


def _opened(trials: Trials, key: str, name: str, point: Mapping[str, Any]) -> tuple[Experiment, Outbox]:
    """Return the experiment of a trial, and the outbox of its run, told that it is open."""
    experiment = search_space.at(trials.checked.experiment, point)
    checked = replace(trials.checked, experiment=experiment)
    note = "\n".join(f"- `{path}`: {value}" for path, value in point.items())
    own = {**trials.tags, tags.NOTE_TAG: note, tags.POINT_TAG: json.dumps(point), **trials.own_tags.get(name, {})}
    place = trials.folder.place / name
    called = title(trials.folder.name, name, point)
    return experiment, record.opened(
        place, checked, f"{key}/{name}", own, parent_id=trials.parent_id, title=called, point=point
    )


class _Recorder(tune.Callback):
    """In the driver: writes what happens to the trials to their folder, and to their outboxes, how their runs ended."""

    def __init__(self, trials: Trials, key: str) -> None:
        self.trials, self.key = trials, key
        self.folder = SweepFolder(trials.folder.place)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not self.folder.has_succeeded(trial.config[NAME]):
            checked = self.trials.checked
            experiment = search_space.at(checked.experiment, trial.config[POINT])
            counts = search_space.counts_of(experiment, checked.names)
            length = {"epochs": experiment.recipe.epochs, "patience": experiment.recipe.patience}
            known = {"began": round(time.time(), 2), **length, **counts}
            self._write(trial, TrialState.RUNNING, {}, **known)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "epoch" in result and _FAILURE not in result and not self.folder.has_succeeded(trial.config[NAME]):
            self._write(trial, TrialState.RUNNING, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config[NAME]
        if self.folder.has_succeeded(name):
            return
        result = trial.last_result
        if _FAILURE in result:
            self._end_badly(trial, TrialState(result[_FAILURE]), result[_REASON])
            return
        checkpoint = Path(trial.checkpoint.path) if trial.checkpoint else Path(result["checkpoint_path"])
        row = self.folder.rows()[name]
        had_all = result.get("epoch") == row["epochs"] or ended_by_patience(row.get("patience"), checkpoint)
        state = TrialState.FINISHED if had_all else TrialState.STOPPED_EARLY
        weights = str(checkpoint / WEIGHTS)
        metrics = {"trial_seconds": result["time_total_s"]}
        outbox = self._outbox(trial)
        outbox.end(state, checkpoint / FILE_NAME, metrics, {tags.WEIGHTS_TAG: weights})
        self._write(trial, state, result, weights=weights, run_id=outbox.run_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_error()
        out_of_memory = isinstance(error, ray.exceptions.OutOfMemoryError)
        state = TrialState.INFEASIBLE if out_of_memory else TrialState.FAILED
        self._end_badly(trial, state, str(error).strip().split("\n")[-1])

    def _end_badly(self, trial: Any, state: TrialState, reason: str) -> None:
        journal = Path(trial.checkpoint.path) / FILE_NAME if trial.checkpoint else None
        self._outbox(trial).end(state, journal, tags={tags.ERROR_TAG: reason})
        self._write(trial, state, {}, reason=reason)

    def _outbox(self, trial: Any) -> Outbox:
        """Return the outbox of a trial, which may have failed before it opened its run itself."""
        outbox = Outbox(self.trials.folder.place / trial.config[NAME])
        if outbox.is_empty():
            _opened(self.trials, self.key, trial.config[NAME], trial.config[POINT])
        return outbox

    def _write(self, trial: Any, state: TrialState, result: Mapping[str, Any], **more: Any) -> None:
        event = {NAME: trial.config[NAME], "state": state, "time": round(time.time(), 2)}
        event |= {POINT: trial.config[POINT], **more}
        self.folder.append(event | {name: result[name] for name in _NOTED if name in result})


def _resources_of_trial(experiment: Experiment) -> Any:
    compute = experiment.compute
    if compute.workers > 1:
        # the driver of a nested run: a share of a CPU would come out of its own workers' pool
        return tune.PlacementGroupFactory([{TRIAL_RESOURCE: 1}])
    return {"cpu": compute.cpus_per_worker, "gpu": compute.gpus_per_worker}
