"""Learning from weights against learning from scratch, many short runs side by side: the figures in the README.

    python -m tests.training.transfer data/bccd data/demo [PROCESSES]

Trains a yolov7-tiny on the demo set, then on the blood cells from these weights and from scratch, with two batch sizes
and three seeds, for 3, 5 and 15 epochs each; prints the mean AP of each way. Some minutes on a GPU and 16 cores.
"""

import multiprocessing
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean

import torch

from tests.reporting import folder_reporter, newest
from yolab.data import loaded_data
from yolab.experiment import build
from yolab.training.checkpoint import WEIGHTS
from yolab.training.loop import train

BASE = {"model.name": "yolov7-tiny", "recipe.preset": "tiny", "data.image_size": 320}
WAYS = {
    "from scratch": {},
    "from the weights": {"recipe.start": "START"},
    "from the weights, low": {"recipe.start": "START", "recipe.optimiser.lr": 0.002, "recipe.warmup.bias_lr": 0.002},
}
EPOCHS, BATCHES, SEEDS = (3, 5, 15), (8, 16), (0, 1, 2)


def train_once(changes: dict, folder: Path) -> float:
    """Train, and return the AP after the last epoch."""
    torch.set_num_threads(1)
    experiment = build({"name": "transfer"}, BASE | changes, "transfer")
    return train(experiment, loaded_data.load(experiment.data), folder_reporter(folder))["ap"]


def compare(task: tuple) -> tuple:
    way, epochs, batch, seed, root, start = task
    changes = WAYS[way] | {"recipe.epochs": epochs, "recipe.evaluate_every": epochs, "recipe.batch": batch}
    changes |= {"seed": seed, "data.path": root} | ({"recipe.start": start} if "recipe.start" in changes else {})
    with tempfile.TemporaryDirectory() as folder:
        return way, epochs, batch, train_once(changes, Path(folder))


def main(root: str, drawn: str, processes: int = 1) -> None:
    with tempfile.TemporaryDirectory() as folder:
        loading = {"compute.loader_processes": processes}
        train_once({"data.path": drawn, "recipe.epochs": 30, "recipe.batch": 16, **loading}, Path(folder))
        start = str(newest(Path(folder)) / WEIGHTS)
        tasks = [(w, e, b, s, root, start) for e in EPOCHS[::-1] for s in SEEDS for b in BATCHES for w in WAYS]
        found = defaultdict(list)
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for way, epochs, batch, ap in pool.imap_unordered(compare, tasks):
                found[batch, way, epochs].append(ap)
    for batch in BATCHES:
        for way in WAYS:
            print(f"| {way}, batch {batch} |", *(f"{mean(found[batch, way, e]):.3f} |" for e in EPOCHS))


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
