"""An end when the scores no longer rise."""

import json
from collections.abc import Mapping
from pathlib import Path

from yolab.storage import Storage
from yolab.training.reporter import Observer, read_of_checkpoint

_SCORES = "scores.json"


def fitness(metrics: Mapping[str, float]) -> float:
    """Return the score by which evaluations are held against each other, as the published code does."""
    return 0.1 * metrics["ap50"] + 0.9 * metrics["ap"]


def ended_by_patience(evaluations: int | None, checkpoint: Storage) -> bool:
    """Return whether the run whose last checkpoint this is has ended for want of better scores; None: it may not."""
    if evaluations is None:
        return False
    patience = Patience(evaluations)
    patience.scores = json.loads(checkpoint.read(_SCORES))
    return patience.should_stop()


class Patience(Observer):
    """Wants a run to end after so many evaluations in a row without a better one. The scores so far go with each
    checkpoint."""

    def __init__(self, evaluations: int) -> None:
        self.evaluations = evaluations
        self.scores: list[float] = []

    def restored(self, checkpoint: Path | None) -> None:
        kept = checkpoint / _SCORES if checkpoint else None  # PBT may hand on a checkpoint of a trial without patience
        self.scores = []
        if kept and kept.exists():
            with read_of_checkpoint(kept):
                self.scores = [float(score) for score in json.loads(kept.read_text())]

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if "ap" in metrics:
            self.scores.append(fitness(metrics))

    def checkpoint_made(self, folder: Path) -> None:
        (folder / _SCORES).write_text(json.dumps(self.scores))

    def should_stop(self) -> bool:
        if not self.scores:
            return False
        since_best = len(self.scores) - 1 - self.scores.index(max(self.scores))
        return since_best >= self.evaluations
