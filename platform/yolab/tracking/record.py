"""What is recorded of a run besides its metrics: parameters to compare by, tags to find and trust it by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolab.data.coco import Dataset
from yolab.data.combined import validation_set
from yolab.data.loader import batches_an_epoch
from yolab.experiment import build, yaml_file
from yolab.models.count import counts_of
from yolab.models.spec import DetectorSpec
from yolab.preflight import CheckedExperiment
from yolab.tracking import mlflow_runs
from yolab.tracking.data_version import data_version
from yolab.tracking.tags import DATA_DIGEST_TAG, DATA_VERSION_TAG, DIGEST_TAG, KIND_TAG, RECIPE_TAG
from yolab.training.schedule import schedule


def params_of(checked: CheckedExperiment) -> dict[str, Any]:
    """Return the whole experiment by dotted path, the schedule cut to the run, and the model's counts."""
    experiment = checked.experiment
    cut = schedule(experiment.recipe, batches_an_epoch(checked.train_images, experiment.recipe.batch))
    values = experiment.flat()
    if not experiment.data.augment.extra:  # runs are older than it, and equal ones should look so
        del values["data.augment.extra"]
    return values | cut.described() | counts_of(DetectorSpec.of(experiment, checked.names))


def tags_of(checked: CheckedExperiment, kind: str) -> dict[str, str]:
    """Return kind, data version, git commit and what was skipped of the data; to be asked where the user is."""
    version = data_version(Path(checked.experiment.data.path))
    tags = {
        KIND_TAG: kind,
        DATA_DIGEST_TAG: checked.data_digest,
        DATA_VERSION_TAG: version.md5 if version else "not pinned",
        "yolab.data_pinned_by": str(version.pin_file) if version else "",
        **mlflow_runs.git_state(Path.cwd()),
    }
    return tags | {f"yolab.skipped.{fault}": str(count) for fault, count in checked.data.skipped.items()}


def open_recorded(
    checked: CheckedExperiment, uri: str, name: str, key: str, tags: Mapping[str, str], parent_id: str | None = None
) -> str:
    """Open the MLflow run of `key`, or find it again; return its id."""
    group = checked.experiment.tracking.experiment or checked.experiment.name
    own = {**tags, DIGEST_TAG: checked.digest, RECIPE_TAG: checked.recipe_digest}
    return mlflow_runs.open_run(uri, group, name, key, parent_id=parent_id, params=params_of(checked), tags=own)


def validation_set_of(run: Mapping[str, Any]) -> Dataset:
    """Return the split that a run was scored on, from its recorded parameters."""
    params = run["params"]
    scored = {name: params[f"data.{name}"] for name in ("path", "val", "on_error")}
    lists = {name: yaml_file.value(params.get(f"data.{name}", "[]"), name) for name in ("also", "classes")}
    described = {"name": "scored", "data": {**scored, **lists, "train": params.get("data.train", scored["val"])}}
    return validation_set(build(described, {}, "the run's parameters").data)
