"""One run over several workers by Ray Train, where a worker that dies is replaced and the run goes on from its last
checkpoint."""

import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train as ray_train
from ray.train import UserCallback
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.callback import RayTrainCallback
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from yolab.cluster.avoided_nodes import OWN_SECONDS, RANK, AvoidedNodes
from yolab.cluster.connect import connected
from yolab.cluster.exported import Exported
from yolab.cluster.interface import TorchOverNodeAddresses
from yolab.cluster.nodes import require_reach
from yolab.cluster.starts import Starts, count_start
from yolab.cluster.waiting import Waiting
from yolab.data.loaded_data import LoadedData
from yolab.errors import UsageError, YolabError, is_full_disk
from yolab.evaluation.score_names import TRIAL_METRICS
from yolab.experiment import Experiment
from yolab.polling import aside, every_second
from yolab.signals import first_noted
from yolab.storage import Storage
from yolab.storage.checkpoints import Checkpoints
from yolab.storage.hold import Hold, TakenOverError
from yolab.storage.stop_sign import StopSign, insisting
from yolab.tracking.journal import FILE_NAME, read_entries
from yolab.tracking.tracked import tracked
from yolab.training.distributed import Workers
from yolab.training.leaving import Leaving
from yolab.training.loop import train
from yolab.training.reporter import Observer, Reporter
from yolab.training.stopwatch import OWN_PHASES

OnEpoch = Callable[[int, Mapping[str, float]], None]  # epoch (from 1), its metrics

logger = logging.getLogger("yolab")

SECONDS, _SCORED = "seconds", "scored"

_END = "end.json"  # why a run can't go on
_ENDS: dict[str, type[BaseException]] = {
    "left": KeyboardInterrupt,
    "usage": UsageError,
    "failed": YolabError,
    "memory": MemoryError,
    "gpu memory": torch.OutOfMemoryError,
}  # the first that fits
# of workers that wait for each other in Ray's own exchanges, and of Ray that waits for a worker's answer
_HANG_TIMEOUTS = ("RAY_TRAIN_COLLECTIVE_TIMEOUT_S", "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S")
_START_TIMEOUT = ("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "15")  # a lost node counts as there for a while
_RESIZE_SECONDS = 10.0  # between two looks whether more workers have room


class EpochTeller(Observer):
    """Tells Ray of each epoch when it is durable, on every rank: its loss, the scores, and the seconds that this
    process has worked on the run. Tune wants scores every time: between two evaluations they are those of the last."""

    def __init__(self, tell: Callable[[dict[str, Any]], object]) -> None:
        self.scores, self.epoch = dict.fromkeys(TRIAL_METRICS, 0.0), 0
        self._tell, self._started = tell, time.perf_counter()
        self._reached: tuple[int, Mapping[str, float]] | None = None

    def restored(self, checkpoint: Path | None) -> None:
        for entry in read_entries(checkpoint / FILE_NAME) if checkpoint else ():
            self._hear(entry["epoch"], entry["metrics"])
            self._reached = entry["epoch"], entry["metrics"]

    def epoch_saved(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._reached = None
        self._hear(epoch, metrics)
        known = {name: metrics[name] for name in ("loss", "epoch_seconds", "workers") if name in metrics}
        seconds = time.perf_counter() - self._started
        phases = [metrics[name] for phase in OWN_PHASES if (name := f"step_{phase}_seconds") in metrics]
        known |= {OWN_SECONDS: sum(phases)} if phases else {}
        self._tell({**self.scores, **known, "epoch": epoch, SECONDS: seconds, _SCORED: "ap" in metrics})

    def end(self) -> None:
        """Tell of the last epoch if there was nothing left to do, as after a kill that came before Ray had heard."""
        if self._reached:
            self.epoch_saved(*self._reached)

    def _hear(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epoch = epoch
        self.scores |= {name: metrics[name] for name in self.scores if name in metrics}


class _Noticed(Observer):
    """Wants the state to be saved, once for each notice that nodes are about to be taken away. Ray Train goes on
    without them from there."""

    def __init__(self) -> None:
        self._known: Any = None

    def should_save(self) -> bool:
        notice = ray_train.get_preemption_info()
        is_new = notice is not None and notice != self._known
        if is_new:
            logger.warning("Notice of the cluster: nodes of this run are about to be taken away.")
        self._known = notice
        return is_new


class _Forwarder(UserCallback):
    """Puts what rank 0 tells of each epoch into a queue; Ray Train calls it in a process of its own."""

    def __init__(self, told: Queue) -> None:
        self.told = told

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        self.told.put(metrics[0])


def _announcing(told: Queue, on_epoch: OnEpoch, note: Callable[[str], None]) -> Callable[[], None]:
    """Return a function that announces the epochs in a queue, those that were repeated, once; and the notes there."""
    announced = 0

    def look() -> None:
        nonlocal announced
        for metrics in told.get_nowait_batch(told.size()):
            if isinstance(metrics, str):
                note(metrics)
            elif metrics["epoch"] > announced:
                announced = metrics["epoch"]
                hidden = () if metrics[_SCORED] else TRIAL_METRICS  # of an earlier epoch
                on_epoch(announced, {name: value for name, value in metrics.items() if name not in hidden})

    return look


def run(
    experiment: Experiment,
    data: LoadedData,
    hold: Hold,
    uri: str,
    on_epoch: OnEpoch,
    note: Callable[[str], None],
    profile_steps: int = 0,
) -> None:
    """Train over `compute.workers` workers; `on_epoch` is called within seconds after each epoch, `note` with what the
    workers wait for.

    Goes on from the last checkpoint of the run, whose `hold` the caller has. Raises what ended the run.
    """
    place = hold.place
    with connected():
        require_reach(experiment, data, place)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # on a node that may be lost it would take the run with it
        epochs, sign = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here}), StopSign(place)
        sign.take_down()
        driver = secrets.token_hex(4)
        callbacks = [_Forwarder(epochs), AvoidedNodes(place, experiment.compute, epochs.put)]
        waiting = Waiting(experiment.compute, lambda: Starts.of(place, driver).in_a_row > 0, note)
        arguments = (experiment, ray.put(data), place, hold, uri, callbacks, sign, driver, profile_steps)
        try:
            with (
                first_noted() as told,
                every_second(_announcing(epochs, on_epoch, note)),
                every_second(waiting.look),
                insisting(sign, told),
            ):
                aside(fit, *arguments)
        finally:
            sign.take_down()


def fit(
    experiment: Experiment,
    data: Any,
    place: Storage,
    hold: Hold,
    uri: str,
    callbacks: Sequence[RayTrainCallback],
    sign: StopSign,
    driver: str,
    profile_steps: int = 0,
) -> None:
    """Train the run that has the `place` over `compute.workers` workers, under the `hold` of it or of its sweep. `data`
    is the reference to the LoadedData in Ray's object store; by the `driver`'s name starts are counted.

    Rank 0 alone writes to MLflow and to storage. The caller is connected to Ray, and not in the main thread, where Ray
    Train would answer Ctrl-C. Raises what ended the run, KeyboardInterrupt if it left because of the sign.
    """
    compute = experiment.compute
    workers = compute.workers
    place.remove(_END)
    hang_seconds = round(60 * compute.hang_minutes)
    os.environ |= dict.fromkeys(_HANG_TIMEOUTS, str(hang_seconds))
    if workers.min < workers.max:
        os.environ.setdefault(*_START_TIMEOUT)
    gpus = {"GPU": compute.gpus_per_worker} if compute.gpus_per_worker else {}
    with tempfile.TemporaryDirectory() as scratch:
        trainer = TorchTrainer(
            work,
            train_loop_config={
                "experiment": experiment.model_dump(),
                "data": data,
                "place": place,
                "hold": hold,
                "uri": uri,
                "sign": sign,
                "driver": driver,
                "profile": profile_steps,
            },
            torch_config=TorchOverNodeAddresses(timeout_s=hang_seconds),
            scaling_config=ray_train.ScalingConfig(
                num_workers=workers.min if workers.min == workers.max else (workers.min, workers.max),
                elastic_resize_monitor_interval_s=_RESIZE_SECONDS,
                use_gpu=compute.gpus_per_worker > 0,
                resources_per_worker={"CPU": compute.cpus_per_worker, **gpus},
            ),
            run_config=ray_train.RunConfig(
                storage_path=scratch,  # for what Ray itself remembers, and nobody asks for
                failure_config=ray_train.FailureConfig(max_failures=-1),
                callbacks=list(callbacks),
            ),
        )
        result = trainer.fit()
    if place.exists(_END):
        told = json.loads(place.read(_END))
        raise _ENDS[told["kind"]](told["what"])
    if result.error is not None:
        raise result.error


def work(config: dict[str, Any]) -> None:
    """Be one worker of a run: what Ray Train executes in each of its processes.

    What can't go well another time is written down before it is raised. Ray Train begins again, whatever it was, as
    often as workers are lost: they find it then, and leave at once.
    """
    place: Storage = config["place"]
    if place.exists(_END):
        return
    try:
        _train(config)
    except TakenOverError:
        raise  # the place is another command's
    except BaseException as error:
        kind = next((name for name, each in _ENDS.items() if isinstance(error, each)), None)
        what = str(error)
        if is_full_disk(error) and not isinstance(error, YolabError):
            kind = "failed"
            scratch, file = tempfile.gettempdir(), getattr(error, "filename", None)
            full = file if file and not str(file).startswith(scratch) else scratch
            what = (
                f"The disk of {full} on the node {ray.util.get_node_ip_address()} is full: make room, "
                "or let TMPDIR name a folder on a larger one where `ray start` is called. --resume goes on from the "
                "last checkpoint."
            )
        if kind:
            place.write(_END, json.dumps({"kind": kind, "what": what}).encode())
        if kind != "left":
            raise


def _train(config: dict[str, Any]) -> None:
    context = ray_train.get_context()
    workers = Workers(context.get_world_rank(), context.get_world_size())
    experiment, place = Experiment.model_validate(config["experiment"]), config["place"]
    with tempfile.TemporaryDirectory() as scratch:
        tracking = tracked(place, config["uri"], Path(scratch))
        first = workers.rank == 0
        with (
            tracking if first else nullcontext() as observer,
            config["sign"].watched() if first else nullcontext(lambda: False) as told,
        ):
            teller = EpochTeller(lambda known: ray_train.report({RANK: workers.rank, **known}))
            exported = Exported(config["hold"], place, workers.rank)
            observers = [*([observer] if observer else []), teller, exported, _Noticed(), Leaving(told)]
            checkpoints = Checkpoints(place, config["hold"])
            if first:
                begun_from = count_start(place, config["driver"], checkpoints)
                logger.info("%d workers begin from %s", workers.size, begun_from)
            reporter = Reporter(place, checkpoints, observers)
            train(experiment, ray.get(config["data"]).here(), reporter, workers, profile_steps=config["profile"])
            teller.end()
