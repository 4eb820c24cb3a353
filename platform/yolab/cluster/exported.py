"""What Prometheus is told of a run while it trains, by way of Ray: dashboards/grafana shows it."""

from collections.abc import Mapping

import torch
from ray.util.metrics import Gauge

from yolab.storage import Storage
from yolab.storage.hold import Hold
from yolab.training.reporter import Observer
from yolab.training.stopwatch import PHASES

_LABELS = ("run", "rank")
_PLAIN = {  # what an epoch knows by this name, and its gauge
    "loss": "loss",
    "ap": "ap",
    "ap50": "ap50",
    "lr": "learning_rate",
    "workers": "workers",
    "images_per_second": "images_per_second",
    "epoch_seconds": "epoch_seconds",
}
_HELP = {
    "epoch": "epochs that are done",
    "loss": "mean loss of the last epoch",
    "ap": "AP of the last evaluation, from 0 to 1",
    "ap50": "AP50 of the last evaluation, from 0 to 1",
    "learning_rate": "learning rate at the end of the last epoch",
    "workers": "workers of the last epoch",
    "images_per_second": "images that all workers learned from in a second",
    "epoch_seconds": "seconds of the last epoch",
    "step_seconds": "seconds of a step, by phase",
    "gpu_memory_bytes": "most memory that PyTorch has used on the worker's GPU",
}


class Exported(Observer):
    """Sets the gauges ray_yolab_… of the run in a place after each epoch, on every rank. It is called NAME, or
    SWEEP/TRIAL if the `hold` is that of its sweep."""

    def __init__(self, hold: Hold, place: Storage, rank: int) -> None:
        own = str(hold.place) == str(place)
        self._gauges: dict[str, Gauge] = {}
        self._labels = {"run": place.name if own else f"{hold.place.name}/{place.name}", "rank": str(rank)}

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._set("epoch", epoch)
        for name, gauge in _PLAIN.items():
            if name in metrics:
                self._set(gauge, metrics[name])
        for phase in PHASES:
            if f"step_{phase}_seconds" in metrics:
                self._set("step_seconds", metrics[f"step_{phase}_seconds"], phase=phase)
        if torch.cuda.is_available():
            self._set("gpu_memory_bytes", torch.cuda.max_memory_allocated())

    def _set(self, name: str, value: float, **more: str) -> None:
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"yolab_{name}", _HELP[name], (*_LABELS, *more))
        self._gauges[name].set(float(value), self._labels | more)
