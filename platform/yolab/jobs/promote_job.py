"""The best run becomes the registry's champion."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.jobs.result import Result
from yolab.jobs.session import Session
from yolab.jobs.watcher import SILENT, Watcher
from yolab.registry import promote as registry

_DEFAULT_SPLIT = "val2017"


@dataclass(frozen=True)
class PromoteResult(Result):
    """What is champion now; `new` is False if these weights were it already, and then no gate was asked."""

    name: str
    version: str
    run: str
    new: bool
    gates: tuple[tuple[str, str], ...]  # what each asked, and what was measured
    metrics: dict[str, float]

    def document(self) -> Any:
        return {"name": self.name, "version": self.version, "run": self.run, "new": self.new, **self.metrics}

    def sentences(self) -> list[str]:
        """Return it in words."""
        passed = [f"gate passed: {asked} ({measured})" for asked, measured in self.gates]
        what = "is now" if self.new else "was already"
        alias = f"models:/{self.name}@{registry.CHAMPION}"
        return [*passed, f"{self.run} {what} {self.name} version {self.version}, {alias}"]


def promote(
    source: str | Path,
    model: str,
    *,
    data: str | Path | None = None,
    split: str | None = None,
    min_ap50: float = 0.0,
    storage: str | Path | None = None,
    uri: str | None = None,
    watcher: Watcher = SILENT,
) -> PromoteResult:
    """Fold a model, let it prove itself, register it as `model` and make it champion.

    `source` is a sweep or a table (its best run counts), a run by its name, MLflow id, or SWEEP/TRIAL, or a file of
    weights, which proves itself on a `split` of `data`. Raises UsageError for what can't be meant, GateError if a gate
    says no.
    """
    if not re.fullmatch(r"[^/:.%'\"]+", model):
        raise UsageError(f"A registered model can't be named {model!r}: leave out / : . % and quotes.")
    session = Session.at(storage, uri)
    if str(source).endswith(".safetensors"):
        if data is None:
            raise UsageError(f"Say which data {source} proves itself on: --data DIR.")
        run = registry.imported_run(session.uri, Path(source), str(data), split or _DEFAULT_SPLIT)
    else:
        if data is not None or split is not None:
            raise UsageError("--data and --split are for a file of weights: a run proves itself on its own data.")
        if Path(source).is_file():
            raise UsageError(
                f"{source} can't be promoted: give the .safetensors file that it was made of, or that `yolab weights "
                "import` makes of it."
            )
        run = registry.source_run(session.uri, str(source))
    watcher.progress(f"Promoting {run['name']}")
    done = registry.promote(session.uri, run, session.place, model, min_ap50)
    gates = tuple((verdict.gate, verdict.measured) for verdict in done.verdicts)
    return PromoteResult(done.name, done.version, done.run_name, done.new, gates, done.metrics)
