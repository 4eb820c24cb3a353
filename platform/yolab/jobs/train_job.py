"""One run, from an experiment."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yolab.cluster.capacity import awaited_capacity, capacity, of_this_machine
from yolab.data.coco import Dataset
from yolab.errors import UsageError, is_interruption
from yolab.evaluation import detections_file
from yolab.evaluation.metrics import score
from yolab.evaluation.score_names import METRICS
from yolab.experiment import Compute, Experiment, Overrides
from yolab.jobs.checking import check, experiment_from
from yolab.jobs.result import Result
from yolab.jobs.session import Session
from yolab.jobs.watcher import SILENT, Watcher
from yolab.models.device import named_device
from yolab.preflight import Capacity, CheckedExperiment
from yolab.reports.evaluation_figures import save_report
from yolab.search.trial import TrialState
from yolab.signals import first_noted
from yolab.storage import Storage, claim
from yolab.storage.checkpoints import Checkpoints
from yolab.storage.hold import Hold
from yolab.tracking import record, tags
from yolab.tracking.journal import FILE_NAME as JOURNAL
from yolab.tracking.journal import entries_in
from yolab.tracking.outbox import Outbox, delivering
from yolab.tracking.tracked import tracked
from yolab.training.checkpoint import WEIGHTS
from yolab.training.leaving import Leaving
from yolab.training.loop import EVALUATION
from yolab.training.loop import train as learn
from yolab.training.reporter import Observer, Reporter


@dataclass(frozen=True)
class TrainResult(Result):
    """A run that has ended: its name in the storage, its MLflow run, the file of its weights, and the metrics of its
    last epoch."""

    name: str
    run_id: str
    weights: str
    metrics: Mapping[str, float]

    @property
    def scores(self) -> dict[str, float]:
        """COCO's AP, as fractions: over all, at IoU 0.5 and 0.75, of small, medium and large objects."""
        return {name: self.metrics[name] for name in METRICS if name in self.metrics}

    def document(self) -> Any:
        found = {"name": self.name, "run_id": self.run_id, "weights": self.weights}
        return {**found, **self.scores, "metrics": dict(self.metrics)}


def train(
    experiment: str | Path | Experiment,
    overrides: Overrides = (),
    *,
    resume: bool = False,
    restartable: bool = False,
    device: str | None = None,
    profile_steps: int = 0,
    storage: str | Path | None = None,
    watcher: Watcher = SILENT,
) -> TrainResult:
    """Train one detector, in this process or over `compute.workers` workers of a Ray cluster.

    `overrides` are `key.path=value` texts; `resume` goes on with the last run of that name, `restartable` with the one
    that the same call began, if there is one, when nobody works on it any more; `device` is torch's name of where a run
    of one worker computes, None: the GPU, where there is one; so many steps are traced by torch's profiler.
    Raises UsageError for what can't be meant, before anything is created; YolabError, or whatever
    ended the run, with its state saved and recorded.
    """
    session = Session.at(storage)
    asked = experiment_from(experiment, overrides)
    alone = asked.compute.workers.max == 1
    if device is not None and not alone:
        raise UsageError(f"--device is for one worker: the cluster gives {asked.compute.workers.max} their devices.")
    own_device = named_device(device) if alone else None
    room = _room(asked.compute, restartable, watcher)
    checked = check(asked, watcher, room, own_device)
    described = checked.experiment
    # by shards the result is the same, however many go on with it
    work = {"digest": checked.digest, "workers": None if asked.compute.shards else asked.compute.workers.max}
    begun = claim.begun(session.storage, described.name, work) if restartable else None
    if resume:
        begun = claim.last_used(session.storage, described.name)
    place = begun or claim.unused(session.storage, described.name)
    if not begun and place.name != described.name:
        watcher.note(f"There is a run {described.name} already: this one is {place.name}.")
    uri = session.uri_of(described)
    key = claim.reclaim(place, work) if begun else claim.claim(place, work)
    hold = Hold(place)
    with hold.awaited(watcher.note) if restartable else hold.held():
        return _tracked(checked, hold, key, uri, own_device, profile_steps, watcher)


def _room(compute: Compute, restartable: bool, watcher: Watcher) -> Capacity:
    if compute.workers.max == 1:
        return of_this_machine()
    return awaited_capacity(compute, watcher.note) if restartable else capacity()


def _tracked(
    checked: CheckedExperiment,
    hold: Hold,
    key: str,
    uri: str,
    device: torch.device | None,
    profile_steps: int,
    watcher: Watcher,
) -> TrainResult:
    """Be the run that has the folder `place`, from its opening in MLflow to its end."""
    place = hold.place
    weights, finished = str(place / WEIGHTS), Outbox(place)
    if finished.state() is TrialState.FINISHED and place.exists(WEIGHTS):
        finished.deliver(uri)
        watcher.note(f"Nothing is left to do of {place.name}.")
        return TrainResult(place.name, str(finished.run_id), weights, _last_metrics(place))
    outbox = record.opened(place, checked, key, record.tags_of(checked, "train"))
    outbox.deliver(uri)
    with delivering(uri) as delivery:
        try:
            metrics = _learn(checked, hold, uri, device, profile_steps, watcher)
        except (KeyboardInterrupt, Exception) as error:
            hold.require_own()
            if is_interruption(error):
                outbox.end(TrialState.STOPPED)
                delivery.add(outbox)
                watcher.note(f"Stopped. Go on with the same command and --resume; the state is in {place}.")
                raise KeyboardInterrupt from error
            outbox.end(TrialState.FAILED, tags={tags.ERROR_TAG: str(error)})
            delivery.add(outbox)
            raise
        outbox.file(WEIGHTS)
        _draw(checked.data.val, place, outbox)
        outbox.end(TrialState.FINISHED, metrics, {tags.WEIGHTS_TAG: f"{place.name}/{WEIGHTS}"})
        delivery.add(outbox)
    return TrainResult(place.name, str(outbox.run_id), weights, metrics)


def _learn(
    checked: CheckedExperiment,
    hold: Hold,
    uri: str,
    device: torch.device | None,
    profile_steps: int,
    watcher: Watcher,
) -> dict[str, float]:
    """Train, deliver the weights, and return the metrics of the last epoch."""
    experiment, place = checked.experiment, hold.place
    epochs, workers = experiment.recipe.epochs, experiment.compute.workers

    def say(epoch: int, metrics: Mapping[str, float]) -> None:
        scores = "".join(f"  {name} {metrics[name]:.3f}" for name in ("ap", "ap50") if name in metrics)
        seconds = metrics["epoch_seconds"]
        by = f"  {metrics['workers']:.0f} workers" if workers.min < workers.max else ""
        watcher.note(f"epoch {epoch}/{epochs}  loss {metrics['loss']:.4f}{scores}  {seconds:.1f} s{by}")

    def on_batch(epoch: int, done: int, total: int) -> None:
        watcher.progress("Training", (epoch - 1) * total + done, epochs * total)

    if experiment.compute.workers.max == 1:
        with (
            first_noted() as told,
            tempfile.TemporaryDirectory() as scratch,
            tracked(place, uri, Path(scratch)) as tracking,
        ):
            reporter = Reporter(place, Checkpoints(place, hold), [tracking, _Announcer(say), Leaving(told)])
            learn(experiment, checked.data, reporter, device=device, progress=on_batch, profile_steps=profile_steps)
    else:
        from yolab.cluster import ray_train  # only then: a run of one worker needs no Ray

        ray_train.run(experiment, checked.data, hold, uri, say, watcher.note, profile_steps)
    Checkpoints(place).deliver(WEIGHTS, JOURNAL)
    return _last_metrics(place)


def _last_metrics(place: Storage) -> dict[str, float]:
    return dict(entries_in(place)[-1]["metrics"])


class _Announcer(Observer):
    """Says when an epoch's results have become durable."""

    def __init__(self, say: Callable[[int, Mapping[str, float]], None]) -> None:
        self.say = say

    def epoch_saved(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.say(epoch, metrics)


def _draw(dataset: Dataset, place: Storage, outbox: Outbox) -> None:
    """Draw what the last evaluation of a run found, and keep the pictures with it."""
    last = detections_file.latest(place / EVALUATION)
    if last is None:  # a run that was at its end already when it was resumed
        return
    with tempfile.TemporaryDirectory() as scratch:
        detections = detections_file.load(place.local(f"{EVALUATION}/{last}", Path(scratch)))
        for path in save_report(dataset, detections, score(dataset, detections), Path(scratch)):
            outbox.file(place.keep(path, EVALUATION), EVALUATION)
