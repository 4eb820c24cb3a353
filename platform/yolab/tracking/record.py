"""What is recorded of a run besides its metrics: parameters to compare by, tags to find and trust it by."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from yolab.data.coco import Dataset
from yolab.data.combined import validation_set
from yolab.data.loader import batches_an_epoch
from yolab.experiment import Experiment, build, load, yaml_file
from yolab.models.count import counts_of
from yolab.models.spec import DetectorSpec
from yolab.preflight import CheckedExperiment
from yolab.storage import Storage
from yolab.tracking import mlflow_runs
from yolab.tracking.data_version import data_version
from yolab.tracking.mlflow_uri import without_password
from yolab.tracking.outbox import Outbox
from yolab.tracking.tags import DATA_DIGEST_TAG, DATA_VERSION_TAG, DIGEST_TAG, KIND_TAG, RECIPE_TAG
from yolab.training.schedule import schedule

EXPERIMENT = "experiment.yaml"  # the file of a run that says what it was


def params_of(checked: CheckedExperiment) -> dict[str, Any]:
    """Return the whole experiment by dotted path, the schedule cut to the run, and the model's counts."""
    experiment = checked.experiment
    cut = schedule(experiment.recipe, batches_an_epoch(checked.train_images, experiment.recipe.batch))
    values = _shown(experiment).flat()
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


def opened(
    place: Storage, checked: CheckedExperiment, key: str, tags: Mapping[str, str], parent_id: str | None = None
) -> Outbox:
    """Return the outbox of the run in `place`, told that the run of `key` is open, and what its experiment is."""
    group = checked.experiment.tracking.experiment or checked.experiment.name
    own = {**tags, DIGEST_TAG: checked.digest, RECIPE_TAG: checked.recipe_digest}
    outbox = Outbox(place)
    outbox.open(group, place.name, key, parent_id, params_of(checked), own)
    place.write(EXPERIMENT, yaml.safe_dump(_shown(checked.experiment).model_dump(), sort_keys=False).encode())
    outbox.file(place.path / EXPERIMENT)
    return outbox


def _shown(experiment: Experiment) -> Experiment:
    """Return an experiment as others may see it."""
    uri = without_password(experiment.tracking.uri)
    return experiment.model_copy(update={"tracking": experiment.tracking.model_copy(update={"uri": uri})})


def validation_set_of(uri: str, run: Mapping[str, Any]) -> Dataset:
    """Return the split that a run was scored on, from its experiment as MLflow keeps it; of a run that has none, from
    its parameters. Raises UsageError, YolabError if MLflow can't be used."""
    with tempfile.TemporaryDirectory() as scratch:
        path = mlflow_runs.fetch(uri, run["run_id"], EXPERIMENT, Path(scratch))
        if path is not None:
            return validation_set(load(path).data)
    params = run["params"]
    scored = {name: params[f"data.{name}"] for name in ("path", "val", "on_error")}
    lists = {name: yaml_file.value(params.get(f"data.{name}", "[]"), name) for name in ("also", "classes")}
    described = {"name": "scored", "data": {**scored, **lists, "train": params.get("data.train", scored["val"])}}
    return validation_set(build(described, {}, "the run's parameters").data)
