"""What torch's profiler sees of a few steps."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from yolab.training.reporter import Reporter

TRACE = "trace.json"


class _Trace:
    """A torch profiler over the first steps of an epoch, kept with the run as `TRACE`, for chrome://tracing."""

    def __init__(self, steps: int, reporter: Reporter) -> None:
        self.reporter = reporter
        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self.profiler = torch.profiler.profile(
            activities=activities,
            schedule=torch.profiler.schedule(wait=1, warmup=1, active=steps, repeat=1),
            on_trace_ready=self._keep,
        )

    def __enter__(self) -> Callable[[], None]:
        self.profiler.__enter__()
        return self.profiler.step

    def __exit__(self, *error: Any) -> None:
        self.profiler.__exit__(*error)

    def _keep(self, profiler: Any) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            profiler.export_chrome_trace(str(Path(scratch, TRACE)))
            self.reporter.save_artifact(Path(scratch, TRACE))


def traced(steps: int, reporter: Reporter) -> AbstractContextManager[Callable[[], None]]:
    """Give what to call after each step."""
    return _Trace(steps, reporter) if steps else nullcontext(lambda: None)
