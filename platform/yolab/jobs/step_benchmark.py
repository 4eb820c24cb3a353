"""What a training step takes, by precision, by shards, and by workers that work on it together."""

import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from yolab.experiment import Assigner, Model, build
from yolab.jobs.benchmarks import CLASSES, Rows, least_seconds, made_up_targets, seconds_of
from yolab.losses import detection_loss
from yolab.memory import keep_freed_memory
from yolab.models.device import choose_device
from yolab.models.spec import DetectorSpec
from yolab.training.batch_norm import synchronise
from yolab.training.distributed import Workers
from yolab.training.ema import Ema
from yolab.training.optimiser import make_optimiser
from yolab.training.precision import Precision
from yolab.training.shards import Shards

_ROUNDS = 4
_ALONE, _TOGETHER = ("yolov7", 64, 192), ("yolov7", 16, 192)  # model, images of a worker, pixels


class _Step:
    """A step of a run on made-up images: forward, loss, backward, exchange, optimiser, EMA."""

    def __init__(
        self,
        case: tuple[str, int, int],
        device: torch.device,
        wanted: str = "fp32",
        workers: Workers = Workers(),  # noqa: B008  # frozen
        shards: int = 1,
        synchronised: bool = False,
    ) -> None:
        name, images, size = case
        self.recipe = build({"name": "bench", "recipe": {"preset": "tiny"}}, {}, "bench").recipe
        model = DetectorSpec(Model(name=name), CLASSES, size).build()
        self.model = model.to(memory_format=torch.channels_last).to(device).train()
        if synchronised:
            synchronise(self.model)
        self.precision = Precision.of(wanted, device)
        self.optimiser, self.scaler = make_optimiser(self.model, self.recipe, 1), self.precision.scaler()
        self.ema, self.shards = Ema(self.model, 0.9999, 2000), Shards(workers, shards, self.model)
        self.whole = workers if synchronised else Workers()
        own = images // len(self.shards.held)
        self.images = torch.rand(own, 3, size, size, device=device).to(memory_format=torch.channels_last)
        self.anchors, self.targets = self.model.anchors.cpu(), made_up_targets(own, 7, size)

    def __call__(self) -> None:
        model = self.model
        for shard in self.shards.held:
            with self.shards.turn(shard):
                with self.precision.autocast():
                    levels = model(self.images)
                loss, _ = detection_loss(
                    levels,
                    self.targets,
                    self.anchors,
                    model.strides,
                    Assigner(),
                    self.recipe.loss,
                    self.whole.sum,
                    self.whole.size,
                )
                self.scaler.scale(loss).backward()
        self.shards.merge()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()
        self.ema.update(model)
        if model.device.type == "cuda":
            torch.cuda.synchronize()


def step() -> Rows:
    """A training step of yolov7-tiny on 8 images of 320 px; on a GPU, which that leaves idle, of yolov7 on 32 of
    640 px."""
    keep_freed_memory()
    device = choose_device()
    case = name, images, size = ("yolov7", 32, 640) if device.type == "cuda" else ("yolov7-tiny", 8, 320)
    rows = []
    for wanted in ("fp32", "auto"):
        one = _Step(case, device, wanted)
        about = f"{name}, {images} × {size} px, {wanted} ({one.precision.name}), {device.type}"
        rows.append({"case": about, "seconds": least_seconds(one, 5)})
    return rows


def shards() -> Rows:
    """A training step of one worker, whole and in shards."""
    keep_freed_memory()
    device, (name, images, size) = choose_device(), _ALONE
    counts = (1, 2, 4, 8)
    steps = [_Step(_ALONE, device, shards=count) for count in counts]
    seconds = _in_turn(steps)
    return [
        {
            "case": f"{name}, {images} × {size} px, {count} shards" if count > 1 else f"{name}, {images} × {size} px",
            "seconds": own,
            "of_the_first": own / seconds[0],
        }
        for count, own in zip(counts, seconds)
    ]


def workers(count: int) -> Rows:
    """Training steps of so many workers on this machine at the same time: each for itself, then together, with batch
    norm by worker and synchronised. On a CPU by gloo, on GPUs, one for each, by NCCL."""
    with tempfile.TemporaryDirectory() as scratch, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        free.close()
        mp.spawn(_be_worker, (count, address, torch.get_num_threads(), scratch), nprocs=count)
        seconds = torch.load(Path(scratch, "seconds.pt"))
    name, images, size = _TOGETHER
    return [
        {
            "case": f"{count} workers {how}, {name}, {images} × {size} px each",
            "images_per_second": count * images / own,
            "of_the_first": seconds[0] / own,
        }
        for how, own in zip(("apart", "together, batch norm by worker", "together, batch norm synchronised"), seconds)
    ]


def _be_worker(rank: int, count: int, address: str, threads: int, folder: str) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    device = choose_device(rank)
    kind = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(kind, init_method=address, rank=rank, world_size=count)
    group = Workers(rank, count)
    steps = [
        _Step(_TOGETHER, device),
        _Step(_TOGETHER, device, workers=group, shards=count),
        _Step(_TOGETHER, device, workers=group, shards=count, synchronised=True),
    ]
    seconds = _in_turn([lambda step=step: (step(), dist.barrier()) for step in steps])  # type: ignore[misc]
    if rank == 0:
        torch.save(seconds, Path(folder, "seconds.pt"))
    dist.destroy_process_group()


def _in_turn(steps: Sequence[Callable[[], object]]) -> list[float]:
    """Return the least seconds of each, each taken once in every round, of which the first is to warm up."""
    rounds = [[seconds_of(step) for step in steps] for _ in range(_ROUNDS)]
    return [min(times) for times in zip(*rounds)]
