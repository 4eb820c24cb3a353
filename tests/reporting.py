"""Reporters for tests."""

from collections.abc import Mapping
from pathlib import Path

from yolab.training.reporter import FolderCheckpoints, Observer, Reporter


def folder_reporter(folder: Path, *observers: Observer) -> Reporter:
    """Return the reporter of a plain process."""
    return Reporter(folder, FolderCheckpoints(folder), observers)


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
