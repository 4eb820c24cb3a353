"""One run over several workers by Ray Train, where a worker that dies is replaced and the run goes on from its last
checkpoint."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train as ray_train
from ray.train.torch import TorchTrainer

from yolab.cluster.connect import connected
from yolab.cluster.interface import TorchOverNodeAddresses
from yolab.cluster.nodes import require_reach
from yolab.data.loaded_data import LoadedData
from yolab.errors import UsageError, YolabError
from yolab.evaluation.score_names import TRIAL_METRICS
from yolab.experiment import Experiment
from yolab.polling import every_second
from yolab.tracking.journal import FILE_NAME, read_entries
from yolab.tracking.tracked import tracked
from yolab.training.distributed import Workers
from yolab.training.loop import train
from yolab.training.reporter import CHECKPOINT, CheckpointStore, Reporter

OnEpoch = Callable[[int, Mapping[str, float]], None]  # epoch (from 1), its metrics

# Ray Tune wants the scores at every report; between two evaluations they are those of the last
NO_SCORES = dict.fromkeys(TRIAL_METRICS, 0.0)

_RAY = "ray"

_END = "end.json"  # why a run can't go on
_ENDS: dict[str, type[Exception]] = {
    "usage": UsageError,
    "failed": YolabError,
    "memory": MemoryError,
    "gpu memory": torch.OutOfMemoryError,
}  # the first that fits
_MOST_FAILURES = 3
_KEPT_CHECKPOINTS = 2  # the last may be torn by a failure, the one before it is whole


def unpacked(last: Any, folder: Path) -> Iterator[Path]:
    """Give local copies, inside `folder`, of the last checkpoint of Ray's, if there is one, and of those before it."""
    if last is None:
        return
    newest = Path(last.path)
    older = sorted((path for path in newest.parent.glob("checkpoint_*") if path.name < newest.name), reverse=True)
    for checkpoint in (last, *map(ray_train.Checkpoint, older)):
        target = folder / Path(checkpoint.path).name
        shutil.rmtree(target, ignore_errors=True)
        yield Path(checkpoint.to_directory(str(target)))


class RayTrainCheckpoints(CheckpointStore):
    """The checkpoints of the Ray Train run that this process is a worker of; what only this process needs goes to
    `scratch`."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.last_metrics = dict(NO_SCORES)

    def kept(self) -> Iterator[Path]:
        return unpacked(ray_train.get_checkpoint(), self.scratch)

    def save(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        self.last_metrics |= metrics
        whole = ray_train.Checkpoint.from_directory(str(checkpoint)) if checkpoint else None
        ray_train.report({**self.last_metrics, "epoch": epoch}, checkpoint=whole)


def run(
    experiment: Experiment,
    data: LoadedData,
    folder: Path,
    uri: str,
    on_epoch: OnEpoch,
    profile_steps: int = 0,
) -> None:
    """Train over `compute.workers` workers; `on_epoch` is called within seconds after each epoch.

    Leaves the last checkpoint in `folder/checkpoint`; goes on from what `folder` already has. Raises what ended the
    run.
    """
    with connected(), every_second(_announcing_from(folder / _RAY, on_epoch)):
        require_reach(experiment, folder)
        last = fit(experiment, ray.put(data), folder, uri, profile_steps=profile_steps)
    shutil.copytree(last, folder / CHECKPOINT, dirs_exist_ok=True)


def fit(
    experiment: Experiment,
    data: Any,
    folder: Path,
    uri: str,
    callbacks: Sequence[Any] = (),
    profile_steps: int = 0,
) -> Path:
    """Train over `compute.workers` workers and return the folder of the last checkpoint, below `folder`. `data` is the
    reference to the LoadedData in Ray's object store.

    Rank 0 alone writes to MLflow and to storage. The caller is connected to Ray. Raises what ended the run,
    KeyboardInterrupt for Ctrl-C.
    """
    compute, end = experiment.compute, folder.resolve() / _END
    end.unlink(missing_ok=True)
    gpus = {"GPU": compute.gpus_per_worker} if compute.gpus_per_worker else {}
    trainer = TorchTrainer(
        work,
        train_loop_config={
            "experiment": experiment.model_dump(),
            "data": data,
            "folder": str(folder.resolve()),
            "uri": uri,
            "profile": profile_steps,
        },
        torch_config=TorchOverNodeAddresses(),
        scaling_config=ray_train.ScalingConfig(
            num_workers=compute.workers,
            use_gpu=compute.gpus_per_worker > 0,
            resources_per_worker={"CPU": compute.cpus_per_worker, **gpus},
        ),
        run_config=ray_train.RunConfig(
            name=_RAY,
            storage_path=str(folder.resolve()),
            failure_config=ray_train.FailureConfig(max_failures=_MOST_FAILURES),
            checkpoint_config=ray_train.CheckpointConfig(num_to_keep=_KEPT_CHECKPOINTS),
            callbacks=list(callbacks),
        ),
    )
    try:
        result = trainer.fit()
    except SystemExit:  # so Ray Train answers the first Ctrl-C, after it has stopped its workers
        raise KeyboardInterrupt from None
    if end.exists():
        told = json.loads(end.read_text())
        raise _ENDS[told["kind"]](told["what"])
    if result.error is not None:
        raise result.error
    assert result.checkpoint is not None
    return Path(result.checkpoint.path)


def work(config: dict[str, Any]) -> None:
    """Be one worker of a run: what Ray Train executes in each of its processes.

    What can't go well another time is written down before it is raised. Ray Train begins again, whatever it was: the
    workers find it then, and leave at once.
    """
    end = Path(config["folder"], _END)
    if end.exists():
        return
    try:
        _train(config)
    except tuple(_ENDS.values()) as error:
        kind = next(name for name, each in _ENDS.items() if isinstance(error, each))
        end.write_text(json.dumps({"kind": kind, "what": str(error)}))
        raise


def _train(config: dict[str, Any]) -> None:
    context = ray_train.get_context()
    workers = Workers(context.get_world_rank(), context.get_world_size())
    experiment, folder = Experiment.model_validate(config["experiment"]), Path(config["folder"])
    with tempfile.TemporaryDirectory() as scratch:
        tracking = tracked(folder, config["uri"], Path(scratch))
        with tracking if workers.rank == 0 else nullcontext() as observer:
            observers = [observer] if observer else []
            reporter = Reporter(folder, RayTrainCheckpoints(Path(scratch)), observers)
            train(experiment, ray.get(config["data"]), reporter, workers, profile_steps=config["profile"])


def _announcing_from(storage: Path, on_epoch: OnEpoch) -> Callable[[], None]:
    """Return a function that announces the new epochs of a run whose workers are elsewhere, from the journals in its
    checkpoints."""
    announced = 0

    def look() -> None:
        nonlocal announced
        for path in sorted(storage.glob(f"checkpoint_*/{FILE_NAME}")):
            for entry in read_entries(path):
                if entry["epoch"] > announced:
                    announced = entry["epoch"]
                    on_epoch(announced, entry["metrics"])

    return look
