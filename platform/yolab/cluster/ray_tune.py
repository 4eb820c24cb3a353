"""The trials of a sweep or a table by Ray Tune: in parallel, the bad ones stopped early, all of them in MLflow."""

import functools
import json
import logging
import pickle
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from yolab.cluster import ray_train
from yolab.cluster.avoided_nodes import AvoidedNodes
from yolab.cluster.connect import TRIAL_RESOURCE
from yolab.cluster.exported import Exported
from yolab.cluster.nodes import require_reach
from yolab.cluster.ray_train import SECONDS, EpochTeller
from yolab.cluster.starts import MOST_STARTS, count_failure, count_start, count_without_memory
from yolab.cluster.tune_search import Memory, PointSearcher
from yolab.data.loaded_data import LoadedData
from yolab.errors import UsageError, YolabError
from yolab.evaluation.latency import seconds_of
from yolab.evaluation.score_names import LATENCY, TRIAL_METRICS
from yolab.experiment import Experiment
from yolab.models.spec import DetectorSpec
from yolab.preflight import Capacity, CheckedExperiment
from yolab.search import schedulers, search_space
from yolab.search.schedulers import Settings
from yolab.search.searchers import Searcher
from yolab.search.sweep_folder import SweepFolder
from yolab.search.trial import NAME, POINT, TrialState, state_of, title
from yolab.storage import Storage
from yolab.storage.checkpoints import Checkpoints
from yolab.tracking import record, tags
from yolab.tracking.journal import FILE_NAME as JOURNAL
from yolab.tracking.journal import entries_in
from yolab.tracking.outbox import Outbox
from yolab.tracking.tracked import tracked
from yolab.training.checkpoint import WEIGHTS
from yolab.training.leaving import Leaving
from yolab.training.loop import train
from yolab.training.patience import ended_by_patience
from yolab.training.reporter import Observer, Reporter

logger = logging.getLogger("yolab")

_KEPT_FOR_OTHERS = 4  # checkpoints, where other trials go on from them
_HANDED_ON = "checkpoint.pickle"  # what Tune hands on between trials: where the checkpoint is
_FAILURE, _REASON = "failure", "reason"  # what a trial reports last if it can't go on
_WITHOUT_MEMORY = ("memory usage threshold", "low on memory")  # in what Ray says of a process that it has ended
_LEFT = "left"  # the same, if it can go on another time
_NOTED = ("epoch", *TRIAL_METRICS, LATENCY)  # of a report, in the events
_WORKED = "time_total_s"  # in the events: seconds that the trial has worked, over all its starts


@dataclass(frozen=True)
class Trials:
    """What Tune runs: trials at the points of a `searcher` around an experiment, which a scheduler, by its name, may
    end; what happens to them is kept in `folder`. They are children of the MLflow run `parent_id` and carry `tags`,
    some by their names more. A trial that fails by itself is begun again from its last checkpoint, `retries` times, one
    that is lost with its process or node as long as it moves on. `work` is what a trial of one worker does."""

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


def run(trials: Trials, capacity: Capacity, most: int | None = None) -> None:
    """Run trials, `most` of them at the same time (None: as many as there is room for), until nothing is left to do, or
    until they are told to leave; the caller is connected to Ray.

    Goes on with a sweep that was interrupted: ended trials are not run again, others go on from their checkpoints.
    Raises YolabError if a node doesn't reach the folder or the data, or if no trial succeeded.
    """
    experiment = trials.checked.experiment
    if experiment.compute.workers.max > 1 and TRIAL_RESOURCE not in ray.cluster_resources():
        raise UsageError(
            "Trials of several workers need a place for their drivers that takes no CPU from the workers: start the "
            f"cluster's head with `ray start --head --resources '{{\"{TRIAL_RESOURCE}\": 1000}}'`."
        )
    require_reach(experiment, trials.checked.data, trials.folder.place)
    folder, driver = trials.folder, secrets.token_hex(4)
    room = capacity.at_once(experiment.compute)
    at_once = min(room, most or room)
    data = ray.put(trials.checked.data)  # once, for all trials
    trial = functools.partial(_trial, trials=trials, key=folder.key, data=data, driver=driver)
    rounds, is_left = 0, trials.searcher.suggest({}, folder.rows()) is not None
    while is_left:  # a trial whose node was lost as it began is none for Tune
        ended, rounds = folder.ended(), rounds + 1
        with tempfile.TemporaryDirectory() as scratch:
            trainable = tune.with_resources(trial, _resources_of_trial(experiment))
            _tuner(trials, trainable, at_once, scratch, driver).fit()
        is_left = trials.searcher.is_left(folder.rows()) and not folder.stop_sign.is_up()
        rounds = 0 if folder.ended() > ended else rounds
        if is_left and rounds == MOST_STARTS:
            raise YolabError("The nodes of the cluster are lost as soon as trials begin on them.")
    rows = folder.rows().values()
    if rows and all(state_of(row) is TrialState.FAILED for row in rows):
        raise YolabError(f"Every trial of {folder.name} failed; the first: {next(iter(rows))['reason']}")


def _tuner(trials: Trials, trainable: Any, at_once: int, scratch: str, driver: str) -> tune.Tuner:
    """Return Tune, ready for the trials that are not at their end. What it remembers itself goes to `scratch`: the
    sweep's events and the trials' checkpoints are all that is needed to go on."""
    hands_on = schedulers.changes_points(trials.scheduler)  # then all trials take turns
    # what trials hand on has to be where all of them reach it
    path, system = (trials.folder.place / "tune").for_arrow() if hands_on else (scratch, None)
    memory = Memory(trials.scheduler, trials.settings, SweepFolder(trials.folder.place))
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            num_samples=-1,  # the searcher says when there are no more
            max_concurrent_trials=None if hands_on else at_once,
            search_alg=PointSearcher(trials.searcher, trials.folder, memory),
            scheduler=memory.scheduler,
            trial_dirname_creator=lambda trial: trial.config[NAME],
        ),
        run_config=tune.RunConfig(
            storage_path=path,
            storage_filesystem=system,
            failure_config=tune.FailureConfig(max_failures=-1),  # `_trial` counts them
            callbacks=[_Recorder(trials, trials.folder.key, driver)],
            verbose=0,
        ),
    )


class TuneTeller(Observer):
    """Tells Tune what an EpochTeller says of the trial that this process runs, and, where other trials may go on from
    them, of its `handed_on` checkpoints."""

    def __init__(self, handed_on: Checkpoints | None) -> None:
        self.handed_on = handed_on
        self.stopped_early = False

    def tell(self, known: dict[str, Any]) -> None:
        newest = self.handed_on.newest() if self.handed_on else None
        with tempfile.TemporaryDirectory() as scratch:
            handed_on = None
            if newest:
                Path(scratch, _HANDED_ON).write_bytes(pickle.dumps(newest))
                handed_on = tune.Checkpoint.from_directory(scratch)
            try:
                tune.report(known, checkpoint=handed_on)
            except SystemExit:  # so Tune ends a trial that its scheduler stopped
                self.stopped_early = True

    def should_stop(self) -> bool:
        return self.stopped_early


def _trial(config: dict[str, Any], trials: Trials, key: str, data: ray.ObjectRef, driver: str) -> None:
    """Be one trial: with one worker the run itself, with several the driver of a nested Ray Train run."""
    name, place = config[NAME], trials.folder.place / config[NAME]
    experiment, _ = _opened(trials, key, name, config[POINT])
    hold, hands_on = trials.folder.hold, schedulers.changes_points(trials.scheduler)
    checkpoints = Checkpoints(place, hold)
    if hands_on:
        checkpoints = Checkpoints(place, hold, kept=_KEPT_FOR_OTHERS, start=_handed_on())
    to_tune = TuneTeller(checkpoints if hands_on else None)
    teller, sign = EpochTeller(to_tune.tell), trials.folder.stop_sign
    try:
        if sign.is_up():  # one that its scheduler had paused
            raise KeyboardInterrupt
        if experiment.compute.workers.max > 1:
            with _telling_tune() as callback:
                callbacks = [callback, AvoidedNodes(place, experiment.compute, logger.warning)]
                ray_train.fit(experiment, data, place, hold, trials.uri, callbacks, sign, driver)
            return
        count_start(place, driver, checkpoints)
        if trials.with_latency:
            spec = DetectorSpec.of(experiment, trials.checked.names)
            teller.scores[LATENCY] = 1000 * seconds_of(spec)  # on the device that the trial has
        with (
            sign.watched() as told,
            tempfile.TemporaryDirectory() as scratch,
            tracked(place, trials.uri, Path(scratch)) as tracking,
        ):
            reporter = Reporter(
                place, checkpoints, [tracking, teller, to_tune, Exported(hold, place, 0), Leaving(told)]
            )
            trials.work(experiment, ray.get(data).here(), reporter)
            teller.end()
    except KeyboardInterrupt:
        tune.report({**teller.scores, "epoch": teller.epoch, _LEFT: True})
    except Exception as error:
        state = TrialState.INFEASIBLE if _cannot_fit(error) else TrialState.FAILED
        may_go_well = state is TrialState.FAILED and not isinstance(error, YolabError)
        if may_go_well and count_failure(place, driver) <= trials.retries:
            raise
        tune.report({**teller.scores, "epoch": teller.epoch, _FAILURE: str(state), _REASON: str(error)})
    if to_tune.stopped_early:
        sys.exit(0)  # what Tune takes for the end of a trial that it stopped; a return it would take for a report


@contextmanager
def _telling_tune() -> Iterator[TuneReportCallback]:
    """Give what tells Tune of a nested run, and end when Tune has taken all of it: one thread puts that, and what the
    trial says last, into a queue for one, which it empties itself, and it hangs if both come at once (Ray 2.60)."""
    callback = TuneReportCallback()
    try:
        yield callback
    finally:
        told = callback._training_actor_item_queue
        told.put({})  # taken after all the rest, and passed over
        while not told.empty():
            time.sleep(0.1)


def _handed_on() -> Storage | None:
    """Return the checkpoint that Tune wants the trial to go on from, None if it may go on from its own."""
    given = tune.get_checkpoint()
    if given is None:
        return None
    with given.as_directory() as folder:
        found: Storage = pickle.loads(Path(folder, _HANDED_ON).read_bytes())
    return found


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

    def __init__(self, trials: Trials, key: str, driver: str) -> None:
        self.trials, self.key, self.driver = trials, key, driver
        self.folder = SweepFolder(trials.folder.place)
        self.worked_before: dict[str, float] = {}  # this start, seconds
        self.recovered: dict[str, int] = {}  # times, since it told anything

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name, checked = trial.config[NAME], self.trials.checked
        self.worked_before[name] = self.folder.rows().get(name, {}).get(_WORKED, 0.0)
        experiment = search_space.at(checked.experiment, trial.config[POINT])
        counts = search_space.counts_of(experiment, checked.names)
        length = {"epochs": experiment.recipe.epochs, "patience": experiment.recipe.patience}
        known = {"began": round(time.time(), 2), **length, **counts}
        self._write(trial, TrialState.RUNNING, {}, **known)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.recovered.pop(trial.config[NAME], None)
        if not {_FAILURE, _LEFT} & set(result):
            self._write(trial, TrialState.RUNNING, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result
        if _FAILURE in result:
            self._end_badly(trial, TrialState(result[_FAILURE]), result[_REASON])
            return
        if _LEFT in result:  # it is ended with the sweep
            return
        place = self.folder.place / trial.config[NAME]
        checkpoints, row = Checkpoints(place), self.folder.rows()[place.name]
        newest = checkpoints.newest()
        assert newest is not None
        known = _reached(newest)
        had_all = known["epoch"] == row["epochs"] or ended_by_patience(row.get("patience"), newest)
        state = TrialState.FINISHED if had_all else TrialState.STOPPED_EARLY
        checkpoints.deliver(WEIGHTS, JOURNAL)
        where, outbox = f"{self.folder.name}/{place.name}/{WEIGHTS}", self._outbox(trial)
        outbox.end(state, {"trial_seconds": row.get(_WORKED, 0.0)}, {tags.WEIGHTS_TAG: where})
        self._write(trial, state, known, weights=str(place / WEIGHTS), run_id=outbox.run_id)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config[NAME]
        self.recovered[name] = self.recovered.get(name, 0) + 1
        if self.recovered[name] > MOST_STARTS + self.trials.retries:  # so it can't even begin to count
            trial.max_failures = trial.run_metadata.num_failures
        if any(words in _last_error(trial) for words in _WITHOUT_MEMORY):
            count_without_memory(self.folder.place / name, self.driver)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Hear of a trial that couldn't begin. Where its node was lost meanwhile, `run` has it again."""
        if not _was_lost(trial):
            self._end_badly(trial, TrialState.FAILED, _last_error(trial).split("\n")[-1])

    def _end_badly(self, trial: Any, state: TrialState, reason: str) -> None:
        self._outbox(trial).end(state, tags={tags.ERROR_TAG: reason})
        self._write(trial, state, {}, reason=reason)

    def _outbox(self, trial: Any) -> Outbox:
        """Return the outbox of a trial, which may have failed before it opened its run itself."""
        self.trials.folder.hold.require_own()
        outbox = Outbox(self.folder.place / trial.config[NAME])
        if outbox.is_empty():
            _opened(self.trials, self.key, trial.config[NAME], trial.config[POINT])
        return outbox

    def _write(self, trial: Any, state: TrialState, result: Mapping[str, Any], **more: Any) -> None:
        self.trials.folder.hold.require_own()
        event = {NAME: trial.config[NAME], "state": state, "time": round(time.time(), 2)}
        event |= {POINT: trial.config[POINT], **more}
        if SECONDS in result:
            event[_WORKED] = self.worked_before[event[NAME]] + result[SECONDS]
        self.folder.append(event | {name: result[name] for name in _NOTED if name in result})


def _last_error(trial: Any) -> str:
    """Return the text of what a trial of Tune's failed by last. Tune's own `get_error` reads a copy, made later."""
    file = trial.error_file
    told = Path(file).read_text() if file and Path(file).exists() else ""  # of all times, each with a headline
    return told.rpartition("Failure #")[2].partition("\n")[2].strip()


def _was_lost(trial: Any) -> bool:
    """Return whether a trial of Tune's failed last because its process or its node was gone."""
    file = trial.pickled_error_file
    error = pickle.loads(Path(file).read_bytes()) if file and Path(file).exists() else None
    return isinstance(error, ray.exceptions.RayActorError)


def _reached(checkpoint: Storage) -> dict[str, Any]:
    """Return the epoch of a trial's last checkpoint, and the scores up to then. Tune may not have heard of it: what a
    nested run tells last can come after its end."""
    found: dict[str, Any] = {}
    for entry in entries_in(checkpoint):
        scores = {name: entry["metrics"][name] for name in TRIAL_METRICS if name in entry["metrics"]}
        found |= {"epoch": entry["epoch"], **scores}
    return found


def _resources_of_trial(experiment: Experiment) -> Any:
    compute = experiment.compute
    if compute.workers.max > 1:
        # the driver of a nested run: a share of a CPU would come out of its own workers' pool
        return tune.PlacementGroupFactory([{TRIAL_RESOURCE: 1}])
    return {"cpu": compute.cpus_per_worker, "gpu": compute.gpus_per_worker}
