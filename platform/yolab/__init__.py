"""A lab for YOLOv7-style detectors: `yolab.sweep(experiment, space, trials=12)` and its like do what the commands do.

What a name stands for is imported when it is first asked for, because torch, Ray and MLflow take seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolab.errors import GateError as GateError
    from yolab.errors import UsageError as UsageError
    from yolab.errors import YolabError as YolabError
    from yolab.experiment import Experiment as Experiment
    from yolab.experiment import load as load
    from yolab.jobs.ablate_job import ablate as ablate
    from yolab.jobs.compare_job import compare as compare
    from yolab.jobs.evaluate_job import evaluate as evaluate
    from yolab.jobs.export_job import export as export
    from yolab.jobs.plan_job import plan as plan
    from yolab.jobs.predict_job import predict as predict
    from yolab.jobs.promote_job import promote as promote
    from yolab.jobs.runs_job import runs as runs
    from yolab.jobs.sweep_job import fork as fork
    from yolab.jobs.sweep_job import resume as resume
    from yolab.jobs.sweep_job import sweep as sweep
    from yolab.jobs.train_job import train as train
    from yolab.search.budget import Budget as Budget

_PLACES = {  # where a name is
    "Budget": "search.budget",
    "Experiment": "experiment",
    **dict.fromkeys(("GateError", "UsageError", "YolabError"), "errors"),
    "fork": "jobs.sweep_job",
    "load": "experiment",
    "resume": "jobs.sweep_job",
    **{
        verb: f"jobs.{verb}_job"
        for verb in ("ablate", "compare", "evaluate", "export", "plan", "predict", "promote", "runs", "sweep", "train")
    },
}


def __getattr__(name: str) -> Any:
    if name == "jobs":
        return import_module(f"{__name__}.jobs")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
