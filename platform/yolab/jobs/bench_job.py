"""Bench: how fast the parts are on this machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher


@dataclass(frozen=True)
class Options:
    """What single benchmarks are measured on: see `bench`."""

    model: str
    sizes: tuple[int, ...]
    data: Path
    split: str
    images: int
    trials: int


BENCHMARKS: dict[str, Callable[[Options], list[dict[str, Any]]]] = {
    "assignment": lambda options: _parts().assignment(),
    "step": lambda options: _parts().step(),
    "loader": lambda options: _parts().loader(options.data, options.split),
    "nms": lambda options: _parts().nms(),
    "metrics": lambda options: _parts().coco_metrics(),
    "comparison": lambda options: _parts().comparison(options.images),
    "inference": lambda options: _parts().inference(options.model, options.sizes),
    "trial": lambda options: _trial(options.trials),
}


@dataclass(frozen=True)
class Benchmark(Result):
    """`rows`: of each case its `name`, `case`, and least `seconds`, or images or trials a second."""

    name: str
    threads: int
    rows: tuple[dict[str, Any], ...]

    def document(self) -> list[dict[str, Any]]:
        return list(self.rows)


def bench(
    name: str,
    *,
    model: str = "yolov7-tiny",
    sizes: Sequence[int] = (320, 640),
    data: str | Path = "data/demo",
    split: str = "train2017",
    images: int = 5000,
    trials: int = 24,
    threads: int = 1,
    watcher: Watcher = SILENT,
) -> Benchmark:
    """Measure a part, one of BENCHMARKS, alone and on so many CPU threads.

    model, sizes: of inference, sides of the image in pixels. data, split: of loader, a data set in COCO layout.
    images: of comparison, how many. trials: of trial, how many. Raises UsageError.
    """
    if name not in BENCHMARKS:
        raise UsageError(f"There is no benchmark {name}: take one of {', '.join(BENCHMARKS)}.")
    options = Options(model, tuple(sizes), Path(data), split, images, trials)
    watcher.progress(f"Measuring {name}")
    rows = _parts().alone(lambda: BENCHMARKS[name](options), threads)
    return Benchmark(name, threads, tuple({"name": name, **row} for row in rows))


# The benchmarks are imported when one of them is measured: the names above are all that `yolab bench --help` needs


def _parts() -> Any:
    from yolab.jobs import benchmarks

    return benchmarks


def _trial(trials: int) -> list[dict[str, Any]]:
    from yolab.jobs.trial_benchmark import trial

    return trial(trials)
