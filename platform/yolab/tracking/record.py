"""What is recorded of a run besides its metrics: parameters to compare by, tags to find and trust it by."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from yolab.data.coco import Dataset
from yolab.data.combined import validation_set
from yolab.data.loader import batches_an_epoch
from yolab.experiment import Experiment, build, deviations, flatten, load, yaml_file
from yolab.models.count import counts_of
from yolab.models.spec import DetectorSpec
from yolab.preflight import CheckedExperiment
from yolab.storage import Storage, is_remote
from yolab.tracking import mlflow_runs
from yolab.tracking.commit import commit_tags
from yolab.tracking.data_version import data_version
from yolab.tracking.mlflow_uri import without_password
from yolab.tracking.outbox import Outbox
from yolab.tracking.tags import DATA_DIGEST_TAG, DATA_VERSION_TAG, DIGEST_TAG, KIND_TAG, NAME_TAG, PARENTS, RECIPE_TAG
from yolab.training.schedule import schedule

EXPERIMENT = "experiment.yaml"  # the file of a run that says what it was

# What everybody looks for in a run, also where it is as usual, and the presets that the rest differs from
_ALWAYS = (
    *("model.name", "data.path", "data.image_size", "data.augment.preset"),
    *("recipe.preset", "recipe.epochs", "recipe.batch", "seed"),
)
_NEVER = ("name", "tracking.")  # which MLflow shows by itself


def params_of(experiment: Experiment, point: Mapping[str, Any]) -> dict[str, str]:
    """Return what people compare a run by: what it has otherwise than its presets, and what its sweep has chosen. The
    whole is in its `EXPERIMENT`."""
    chosen = [path for path, _ in flatten(point)]
    values = experiment.flat()
    shown = [*_ALWAYS, *deviations(experiment), *chosen]
    return {path: str(values[path]) for path in values if path in shown and not path.startswith(_NEVER)}


def metrics_of(checked: CheckedExperiment) -> dict[str, float]:
    """Return what is known beforehand: the model's counts, and the schedule cut to the run."""
    experiment = checked.experiment
    cut = schedule(experiment.recipe, batches_an_epoch(checked.train_images, experiment.recipe.batch))
    return counts_of(DetectorSpec.of(experiment, checked.names)) | cut.described()


def dataset_of(checked: CheckedExperiment) -> dict[str, Any]:
    """Return what a run learns from, as `mlflow_runs.open_run` takes it."""
    path = checked.experiment.data.path
    images = {"train_images": checked.train_images, "val_images": checked.val_images}
    return {
        "name": Path(path).name,
        "digest": checked.data_digest,
        "source": path,
        "profile": images | {"classes": len(checked.names)},
    }


def tags_of(checked: CheckedExperiment, kind: str) -> dict[str, str]:
    """Return kind, data version, git commit and what was skipped of the data; to be asked where the user is."""
    path = checked.experiment.data.path
    version = None if is_remote(path) else data_version(Path(path))
    tags = {
        KIND_TAG: kind,
        DATA_DIGEST_TAG: checked.data_digest,
        DATA_VERSION_TAG: version.md5 if version else "not pinned",
        "yolab.data_pinned_by": str(version.pin_file) if version else "",
        **commit_tags(Path.cwd()),
    }
    return tags | {f"yolab.skipped.{fault}": str(count) for fault, count in checked.data.skipped.items()}


def opened(
    place: Storage,
    checked: CheckedExperiment,
    key: str,
    tags: Mapping[str, str],
    *,
    parent_id: str | None = None,
    title: str | None = None,
    point: Mapping[str, Any] = MappingProxyType({}),
) -> Outbox:
    """Return the outbox of the run in `place`, told that the run of `key` is open, and what its experiment is. A trial
    has a `title` for MLflow's page, and the `point` that its sweep has chosen."""
    experiment = checked.experiment
    outbox = Outbox(place)
    outbox.open(
        experiment_name=experiment.tracking.experiment or experiment.name,
        run_name=title or place.name,
        key=key,
        parent_id=parent_id,
        params=params_of(experiment, point),
        tags={**tags, NAME_TAG: place.name, DIGEST_TAG: checked.digest, RECIPE_TAG: checked.recipe_digest},
        metrics={} if tags.get(KIND_TAG) in PARENTS else metrics_of(checked),  # a sweep is no model
        dataset=dataset_of(checked),
    )
    place.write(EXPERIMENT, yaml.safe_dump(_shown(experiment).model_dump(), sort_keys=False).encode())
    outbox.file(EXPERIMENT)
    return outbox


def _shown(experiment: Experiment) -> Experiment:
    """Return an experiment as others may see it."""
    uri = without_password(experiment.tracking.uri)
    return experiment.model_copy(update={"tracking": experiment.tracking.model_copy(update={"uri": uri})})


def settings_of(uri: str, run: Mapping[str, Any]) -> dict[str, str]:
    """Return the whole experiment of a run as text by dotted path; of a run that kept none, its parameters. Raises
    UsageError, YolabError if MLflow can't be used."""
    experiment = _experiment_of(uri, run)
    return {path: str(value) for path, value in experiment.flat().items()} if experiment else dict(run["params"])


def validation_set_of(uri: str, run: Mapping[str, Any]) -> Dataset:
    """Return the split that a run was scored on, from its experiment as MLflow keeps it; of a run that has none, from
    its parameters. Raises UsageError, YolabError if MLflow can't be used."""
    experiment = _experiment_of(uri, run)
    if experiment:
        return validation_set(experiment.data)
    params = run["params"]
    scored = {name: params[f"data.{name}"] for name in ("path", "val", "on_error")}
    lists = {name: yaml_file.value(params.get(f"data.{name}", "[]"), name) for name in ("also", "classes")}
    described = {"name": "scored", "data": {**scored, **lists, "train": params.get("data.train", scored["val"])}}
    return validation_set(build(described, {}, "the run's parameters").data)


def _experiment_of(uri: str, run: Mapping[str, Any]) -> Experiment | None:
    with tempfile.TemporaryDirectory() as scratch:
        path = mlflow_runs.fetch(uri, run["run_id"], EXPERIMENT, Path(scratch))
        return load(path) if path else None
