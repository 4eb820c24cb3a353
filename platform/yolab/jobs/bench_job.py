"""Bench: how fast the parts are on this machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher


@dataclass(frozen=True)
class Part:
    """Something to measure, and the options that it takes, each with its default."""

    measure: Callable[..., list[dict[str, Any]]]
    takes: Mapping[str, Any] = field(default_factory=dict)


BENCHMARKS = {
    "assignment": Part(lambda: _parts().assignment()),
    "step": Part(lambda: _steps().step()),
    "shards": Part(lambda: _steps().shards()),
    "workers": Part(lambda workers: _steps().workers(workers), {"workers": 2}),
    "loader": Part(lambda data, split: _parts().loader(Path(data), split), {"data": "data/demo", "split": "train2017"}),
    "nms": Part(lambda: _parts().nms()),
    "metrics": Part(lambda: _parts().coco_metrics()),
    "comparison": Part(lambda images: _parts().comparison(images), {"images": 5000}),
    "inference": Part(
        lambda model, size: _parts().inference(model, size), {"model": "yolov7-tiny", "size": (320, 640)}
    ),
    "trial": Part(lambda trials: _trial(trials), {"trials": 24}),
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
    model: str | None = None,
    size: Sequence[int] | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    images: int | None = None,
    trials: int | None = None,
    workers: int | None = None,
    threads: int = 1,
    watcher: Watcher = SILENT,
) -> Benchmark:
    """Measure a part, one of BENCHMARKS, alone and on so many CPU threads.

    model, size: of inference, sides of the image in pixels. data, split: of loader, a data set in COCO layout.
    images: of comparison, how many. trials: of trial, how many. workers: of workers, how many. None is the default in
    BENCHMARKS. Raises UsageError, also for an option that does nothing with this part.
    """
    if name not in BENCHMARKS:
        raise UsageError(f"There is no benchmark {name}: take one of {', '.join(BENCHMARKS)}.")
    part = BENCHMARKS[name]
    options = {"model": model, "size": size, "data": data, "split": split, "images": images}
    options |= {"trials": trials, "workers": workers}
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in part.takes:
            raise UsageError(f"--{option} does nothing with the benchmark {name}: leave it out.")
    watcher.progress(f"Measuring {name}")
    rows = _parts().alone(lambda: part.measure(**{**part.takes, **given}), threads)
    return Benchmark(name, threads, tuple({"name": name, **row} for row in rows))


# The benchmarks are imported when one of them is measured: the names above are all that `yolab bench --help` needs


def _parts() -> Any:
    from yolab.jobs import benchmarks

    return benchmarks


def _steps() -> Any:
    from yolab.jobs import step_benchmark

    return step_benchmark


def _trial(trials: int) -> list[dict[str, Any]]:
    from yolab.jobs.trial_benchmark import trial

    return trial(trials)
