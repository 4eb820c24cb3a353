"""What the training loop knows of the world around it: a Reporter. Ray Train, a Ray Tune trial and a plain process
each give one."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

CHECKPOINT = "checkpoint"  # the folder of the last whole checkpoint in that of a run


class Reporter(Protocol):
    """Called by every rank, equally often; only rank 0 passes a checkpoint. Files that are kept stay in `folder`."""

    folder: Path

    def restore(self) -> Path | None:
        """Return the folder of the last durable checkpoint of this run, or None at its beginning."""

    def report(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        """Make the metrics and the checkpoint of a finished epoch (counted from 1) durable, then announce them.

        `checkpoint` is a folder that the caller may delete or reuse afterwards.
        """

    def should_stop(self) -> bool:
        """Return whether to stop after this epoch, with state saved; the same answer on every rank."""

    def save_artifact(self, path: Path, under: str = "") -> Path:
        """Keep a file (picture, table, weights) with the run, in its folder `under`; return where."""


class FolderReporter:
    """A run of a plain process: everything stays in one folder, `checkpoint/` is always a whole checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stop_requested = False

    def restore(self) -> Path | None:
        checkpoint, previous = self.folder / CHECKPOINT, self.folder / f"{CHECKPOINT}.previous"
        if not checkpoint.exists() and previous.exists():  # killed between the two renames of `report`
            previous.rename(checkpoint)
        return checkpoint if checkpoint.exists() else None

    def report(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        if checkpoint is None:
            return
        current, previous, incoming = (self.folder / f"{CHECKPOINT}{end}" for end in ("", ".previous", ".incoming"))
        for leftover in (incoming, previous):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.copytree(checkpoint, incoming)
        sync_folder(incoming)
        if current.exists():
            current.rename(previous)
        incoming.rename(current)
        shutil.rmtree(previous, ignore_errors=True)

    def should_stop(self) -> bool:
        return self.stop_requested

    def save_artifact(self, path: Path, under: str = "") -> Path:
        return keep_file(path, self.folder / under)


def keep_file(path: Path, folder: Path) -> Path:
    """Copy a file into a folder, made if need be, in place of one of that name; return where it is."""
    target, incoming = folder / path.name, folder / f"{path.name}.incoming"
    if target != path:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, incoming)
        incoming.rename(target)
    return target


def sync_folder(folder: Path) -> None:
    """Force the files of a folder to disk, so that a rename that follows can't come to light without them."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


class AnnouncingReporter:
    """Another reporter that says so when an epoch's results have become durable."""

    def __init__(self, inner: Reporter, announce: Callable[[int, Mapping[str, float]], None]) -> None:
        self.inner, self.announce, self.folder = inner, announce, inner.folder

    def restore(self) -> Path | None:
        return self.inner.restore()

    def report(self, epoch: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        self.inner.report(epoch, metrics, checkpoint)
        self.announce(epoch, metrics)

    def should_stop(self) -> bool:
        return self.inner.should_stop()

    def save_artifact(self, path: Path, under: str = "") -> Path:
        return self.inner.save_artifact(path, under)
