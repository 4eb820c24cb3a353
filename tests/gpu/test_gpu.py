"""What only a machine with a GPU can show: run them there with `make test`; elsewhere they are skipped."""

import json
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests import tiny_set
from tests.reporting import folder_reporter
from yolab.data import loaded_data
from yolab.data.batch import Targets
from yolab.experiment import Assigner, Model, build
from yolab.jobs import benchmarks
from yolab.losses import detection_loss
from yolab.models.spec import DetectorSpec
from yolab.training.distributed import Workers
from yolab.training.ema import Ema
from yolab.training.loop import train
from yolab.training.optimiser import clip, make_optimiser
from yolab.training.precision import Precision

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
GPU = torch.device("cuda")


def experiment(root: Path, **changes: object):
    return build({}, tiny_set.experiment(root, compute__precision="auto", **changes), "test")


def test_auto_is_half_precision_on_a_gpu(small_set, tmp_path):
    assert Precision.of("auto", GPU).name in ("bf16", "fp16")
    metrics = train(experiment(small_set), loaded_data.load(experiment(small_set).data), folder_reporter(tmp_path))
    assert metrics["step_forward_seconds"] > 0


def test_the_loss_is_that_of_the_cpu():
    torch.manual_seed(0)
    levels = [torch.randn(2, 3, 128 // s, 128 // s, 8) for s in (8, 16, 32)]
    targets = Targets(torch.rand(2, 4, 4) * 40 + 30, torch.randint(0, 3, (2, 4)), torch.ones(2, 4, dtype=torch.bool))
    model = DetectorSpec(Model(name="yolov7-tiny"), ("a", "b", "c"), 128).build()
    recipe = build({"name": "x"}, {}, "test").recipe
    parts = [
        detection_loss([v.to(device) for v in levels], targets, model.anchors, model.strides, Assigner(), recipe.loss)[
            1
        ]
        for device in (torch.device("cpu"), GPU)
    ]
    torch.testing.assert_close(parts[1].cpu(), parts[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wanted", ["bf16", "fp32"])  # the scaler of fp16 looks at the gradients by design
def test_a_step_does_not_wait_for_the_gpu(wanted):
    precision = Precision.of(wanted, GPU)
    model = DetectorSpec(Model(name="yolov7-tiny"), ("a", "b"), 128).build().to(GPU).train()
    recipe = build({"name": "x"}, {}, "test").recipe
    optimiser, scaler, ema = make_optimiser(model, recipe, 1), precision.scaler(), Ema(model, 0.999, 100)
    anchors = model.anchors.cpu()
    images = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8).pin_memory()
    targets = Targets(torch.rand(2, 4, 4) * 40 + 30, torch.randint(0, 2, (2, 4)), torch.ones(2, 4, dtype=torch.bool))

    def step() -> None:
        pixels = images.to(GPU, non_blocking=True).float() / 255
        with precision.autocast():
            levels = model(pixels)
        loss, _ = detection_loss(levels, targets, anchors, model.strides, Assigner(), recipe.loss)
        scaler.scale(loss).backward()
        clip(optimiser, scaler, 10.0)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()
        ema.update(model)

    step()  # the first one sets up what the libraries need
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_half_precision_is_faster():
    full, auto = (row["seconds"] for row in benchmarks.step())
    assert auto < full


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_have_the_first_loss_of_one(small_set, tmp_path):
    losses = []
    for size in (1, 2):
        mp.spawn(_work, (size, _free_port(), str(small_set), str(tmp_path)), nprocs=size)
        losses.append(json.loads((tmp_path / f"{size}.json").read_text())["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _work(rank: int, size: int, port: int, root: str, folder: str) -> None:
    torch.cuda.set_device(rank)
    if size > 1:
        dist.init_process_group("nccl", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    target = Path(folder, f"run-{size}-{rank}")
    target.mkdir()
    described = experiment(Path(root), recipe__epochs=1, recipe__batch=24, compute__workers=size)
    metrics = train(described, loaded_data.load(described.data), folder_reporter(target), Workers(rank, size))
    if rank == 0:
        Path(folder, f"{size}.json").write_text(json.dumps(metrics))
    if size > 1:
        dist.destroy_process_group()
