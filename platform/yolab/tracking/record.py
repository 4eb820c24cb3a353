"""What is recorded of a run besides its metrics: parameters to compare by, tags to find and trust it by.

torch takes seconds to import: only what asks for the model or the data does so, for the sake of `yolab runs`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolab.errors import UsageError
from yolab.experiment import build, nearest, yaml_file
from yolab.tracking import mlflow_runs
from yolab.tracking.data_version import data_version

if TYPE_CHECKING:
    from yolab.data.coco import Dataset
    from yolab.preflight import CheckedExperiment

DIGEST_TAG = "yolab.digest"
KIND_TAG = "yolab.kind"  # train, trial, or one of
PARENTS = ("sweep", "table")
RECIPE_TAG = "yolab.recipe"  # the digest without the seed: equal for runs of one recipe
SWEEP_TAG = "yolab.sweep"  # of a trial: what it belongs to
SCHEDULER_TAG = "yolab.scheduler"
NOTE_TAG = "mlflow.note.content"  # what MLflow shows as the description, Markdown
TABLE_TAG, ROW_TAG = "yolab.table", "yolab.row"
WEIGHTS_TAG = "yolab.weights"  # where the weights of the last checkpoint are
STATE_TAG = "yolab.state"
ERROR_TAG = "yolab.error"  # what ended a failed run, in words


def params_of(checked: "CheckedExperiment") -> dict[str, Any]:
    """Return the whole experiment by dotted path, the schedule cut to the run, and the model's counts."""
    from yolab.models.count import cost
    from yolab.models.weights import DetectorSpec
    from yolab.training.schedule import schedule

    experiment = checked.experiment
    cut = schedule(experiment.recipe, -(-checked.train_images // experiment.recipe.batch))
    about = DetectorSpec.of(experiment, checked.names)
    counted = cost(about.blueprint(), len(checked.names), experiment.data.image_size)
    counts = {"params": counted.params, "params_fused": counted.params_fused, "gflops": round(counted.gflops, 3)}
    return experiment.flat() | cut.described() | counts


def tags_of(checked: "CheckedExperiment", kind: str) -> dict[str, str]:
    """Return kind, data version, git commit and what was skipped of the data; to be asked where the user is."""
    version = data_version(Path(checked.experiment.data.path))
    tags = {
        KIND_TAG: kind,
        "yolab.data_digest": checked.data_digest,
        "yolab.data_version": version.md5 if version else "not pinned",
        "yolab.data_pinned_by": str(version.pin_file) if version else "",
        **mlflow_runs.git_state(Path.cwd()),
    }
    return tags | {f"yolab.skipped.{fault}": str(count) for fault, count in checked.data.skipped.items()}


def open_recorded(
    checked: "CheckedExperiment", uri: str, name: str, key: str, tags: Mapping[str, str], parent_id: str | None = None
) -> str:
    """Open the MLflow run of `key`, or find it again; return its id."""
    group = checked.experiment.tracking.experiment or checked.experiment.name
    own = {**tags, DIGEST_TAG: checked.digest, RECIPE_TAG: checked.recipe_digest}
    return mlflow_runs.open_run(uri, group, name, key, parent_id=parent_id, params=params_of(checked), tags=own)


def sweep_run(uri: str, name: str, experiment: str | None = None) -> dict[str, Any]:
    """Return the newest sweep, or table, of that name, as `runs.list_runs` describes it. Raises UsageError with the
    nearest name."""
    parents = [run for run in mlflow_runs.list_runs(uri, experiment) if run["tags"].get(KIND_TAG) in PARENTS]
    for run in parents:
        if run["name"] == name:
            return run
    where = mlflow_runs.without_password(uri)
    if not parents:
        raise UsageError(f"MLflow at {where} has no sweep: `yolab sweep` makes one.")
    meant = nearest(name, [run["name"] for run in parents])
    raise UsageError(f"There is no sweep {name!r}. Did you mean {meant}? `yolab runs` lists all.")


def trials_of(uri: str, sweep: str) -> list[dict[str, Any]]:
    """Return the trials of the newest sweep of that name, the newest first. Raises UsageError with the nearest name."""
    return mlflow_runs.list_runs(uri, parent=sweep_run(uri, sweep)["run_id"])


def named_run(uri: str, name: str) -> dict[str, Any]:
    """Return the newest finished run of that name, or id, or sweep and trial (`scaling/trial-003`), as `runs.list_runs`
    describes it. Raises UsageError."""
    finished = [run for run in _called(uri, name) if WEIGHTS_TAG in run["tags"]]
    if not finished:
        any_run(uri, name)
        raise UsageError(f"The run {name} has not ended with weights yet. `yolab runs` lists what is there.")
    return finished[0]


def any_run(uri: str, name: str) -> dict[str, Any]:
    """Return the newest run of that name, whatever its state, as `named_run` does. Raises UsageError."""
    found = _called(uri, name)
    if not found:
        where = mlflow_runs.without_password(uri)
        raise UsageError(f"The run {name} is not there in {where}. `yolab runs` lists what is there.")
    return found[0]


def place_of(run: Mapping[str, Any]) -> str:
    """Return where a run is in its home: its name, with that of its sweep or table before it."""
    parent = run["tags"].get(SWEEP_TAG)
    return f"{parent}/{run['name']}" if parent else str(run["name"])


def runs_of_recipe(uri: str, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all finished runs of a run's recipe, one for each seed, as `runs.list_runs` describes them."""
    recipe = run["tags"].get(RECIPE_TAG)
    same = [each for each in finished_by_digest(uri).values() if recipe and each["tags"].get(RECIPE_TAG) == recipe]
    return list({each["params"]["seed"]: each for each in same}.values())


def validation_set_of(run: Mapping[str, Any]) -> "Dataset":
    """Return the split that a run was scored on, from its recorded parameters."""
    from yolab.data.combined import validation_set

    params = run["params"]
    scored = {name: params[f"data.{name}"] for name in ("path", "val", "on_error")}
    lists = {name: yaml_file.value(params.get(f"data.{name}", "[]"), name) for name in ("also", "classes")}
    described = {"name": "scored", "data": {**scored, **lists, "train": params.get("data.train", scored["val"])}}
    return validation_set(build(described, {}, "the run's parameters").data)


def _called(uri: str, name: str) -> list[dict[str, Any]]:
    return [run for run in mlflow_runs.list_runs(uri) if name in (run["name"], run["run_id"], place_of(run))]


def finished_by_digest(uri: str) -> dict[str, dict[str, Any]]:
    """Return the newest run of each digest that trained to its end, as `runs.list_runs` describes it."""
    finished = (
        run
        for run in reversed(mlflow_runs.list_runs(uri))
        if run["tags"].get(STATE_TAG) == "finished"
        and run["tags"].get(KIND_TAG) in ("train", "trial")
        and run["tags"].get(SCHEDULER_TAG) != "pbt"  # which may have changed a trial on its way
    )
    return {run["tags"][DIGEST_TAG]: run for run in finished}
