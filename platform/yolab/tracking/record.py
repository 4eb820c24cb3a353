"""What is recorded of a run besides its metrics: parameters to compare by, tags to find and trust it by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolab.errors import UsageError
from yolab.experiment import nearest
from yolab.models.count import cost
from yolab.models.weights import Description
from yolab.preflight import Cleared
from yolab.tracking import runs
from yolab.tracking.data_version import data_version
from yolab.training.optimiser import schedule

DIGEST_TAG = "yolab.digest"
KIND_TAG = "yolab.kind"  # train, trial, or one of
PARENTS = ("sweep", "table")
RECIPE_TAG = "yolab.recipe"  # the digest without the seed: equal for runs of one recipe
SWEEP_TAG = "yolab.sweep"  # of a trial: what it belongs to
SCHEDULER_TAG = "yolab.scheduler"
TABLE_TAG, ROW_TAG = "yolab.table", "yolab.row"
WEIGHTS_TAG = "yolab.weights"  # where the weights of the last checkpoint are
STATE_TAG = "yolab.state"
ERROR_TAG = "yolab.error"  # what ended a failed run, in words


def params_of(cleared: Cleared) -> dict[str, Any]:
    """Return the whole experiment by dotted path, the schedule cut to the run, and the model's counts."""
    experiment = cleared.experiment
    cut = schedule(experiment.recipe, -(-cleared.train_images // experiment.recipe.batch))
    about = Description.of(experiment, cleared.names)
    counted = cost(about.blueprint(), len(cleared.names), experiment.data.image_size)
    counts = {"params": counted.params, "params_fused": counted.params_fused, "gflops": round(counted.gflops, 3)}
    return experiment.flat() | cut.described() | counts


def tags_of(cleared: Cleared, kind: str) -> dict[str, str]:
    """Return kind, data version, git commit and what was skipped of the data; to be asked where the user is."""
    version = data_version(Path(cleared.experiment.data.path))
    tags = {
        KIND_TAG: kind,
        "yolab.data_digest": cleared.data_digest,
        "yolab.data_version": version.md5 if version else "not pinned",
        "yolab.data_pinned_by": str(version.pin_file) if version else "",
        **runs.git_state(Path.cwd()),
    }
    return tags | {f"yolab.skipped.{fault}": str(count) for fault, count in cleared.skipped.items()}


def open_recorded(
    cleared: Cleared, uri: str, name: str, key: str, tags: Mapping[str, str], parent_id: str | None = None
) -> str:
    """Open the MLflow run of `key`, or find it again; return its id."""
    group = cleared.experiment.tracking.experiment or cleared.experiment.name
    own = {**tags, DIGEST_TAG: cleared.digest, RECIPE_TAG: cleared.recipe_digest}
    return runs.open_run(uri, group, name, key, parent_id=parent_id, params=params_of(cleared), tags=own)


def sweep_run(uri: str, name: str, experiment: str | None = None) -> dict[str, Any]:
    """Return the newest sweep, or table, of that name, as `runs.list_runs` describes it. Raises UsageError with the
    nearest name."""
    parents = [run for run in runs.list_runs(uri, experiment) if run["tags"].get(KIND_TAG) in PARENTS]
    for run in parents:
        if run["name"] == name:
            return run
    where = runs.without_password(uri)
    if not parents:
        raise UsageError(f"MLflow at {where} has no sweep: `yolab sweep` makes one.")
    meant = nearest(name, [run["name"] for run in parents])
    raise UsageError(f"There is no sweep {name!r}. Did you mean {meant}? `yolab runs` lists all.")


def trials_of(uri: str, sweep: str) -> list[dict[str, Any]]:
    """Return the trials of the newest sweep of that name, the newest first. Raises UsageError with the nearest name."""
    return runs.list_runs(uri, parent=sweep_run(uri, sweep)["run_id"])


def finished_by_digest(uri: str) -> dict[str, dict[str, Any]]:
    """Return the newest run of each digest that trained to its end, as `runs.list_runs` describes it."""
    finished = (
        run
        for run in reversed(runs.list_runs(uri))
        if run["tags"].get(STATE_TAG) == "finished"
        and run["tags"].get(KIND_TAG) in ("train", "trial")
        and run["tags"].get(SCHEDULER_TAG) != "pbt"  # which may have changed a trial on its way
    )
    return {run["tags"][DIGEST_TAG]: run for run in finished}
