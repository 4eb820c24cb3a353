"""Reporters for tests."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from yolab.storage import Folder
from yolab.storage.checkpoints import Checkpoints
from yolab.training.reporter import Observer, Reporter


def folder_reporter(folder: Path, *observers: Observer) -> Reporter:
    """Return the reporter of a plain process."""
    return Reporter(Folder(folder), Checkpoints(Folder(folder)), observers)


def newest(folder: Path) -> Path:
    """Return the last checkpoint in the folder of a run."""
    found = Checkpoints(Folder(folder)).newest()
    assert found
    return found.path


def describe_again(folder: Path) -> None:
    """Let the manifest of a checkpoint say what its files are now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, described in manifest["files"].items():
        content = (folder / name).read_bytes()
        described |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute as a worker of one CPU does, to the bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Recorder(Observer):
    """Keeps what was reported, and ends a run after a given epoch, as early stopping does with a trial."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.epoch = 0
        self.reported: list[dict[str, float]] = []

    def epoch_saved(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epoch = epoch
        self.reported.append(dict(metrics))

    def should_stop(self) -> bool:
        return self.epoch == self.stop_after


class Leaving(Observer):
    """Wants to leave after so many batches, once, as somebody who presses Ctrl-C."""

    def __init__(self, after: int) -> None:
        self.left = after

    def progress(self, *_: int) -> None:
        self.left -= 1

    def should_leave(self) -> bool:
        return self.left == 0
