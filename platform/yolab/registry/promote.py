"""The way of a run's model into the registry: folded, proven, packaged, then named champion."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo

from yolab.data import coco
from yolab.data.copies import folder_of
from yolab.errors import GateError, UsageError
from yolab.evaluation.score_names import METRICS
from yolab.models import weights
from yolab.models.detector import Detector
from yolab.models.fold import fold
from yolab.models.spec import DetectorSpec
from yolab.registry import gates, package
from yolab.registry.gates import Verdict
from yolab.search.trial import TrialState
from yolab.storage import Storage, is_remote, local_file
from yolab.tracking import find_runs, mlflow_runs, record, tags

CHAMPION = "champion"
_FINGERPRINT_TAG = "yolab.weights_sha256"


@dataclass(frozen=True)
class Promotion:
    """`version` of the registered model; `new` is False if these weights were the champion already."""

    name: str
    version: str
    run_name: str
    new: bool
    verdicts: tuple[Verdict, ...]
    metrics: dict[str, float]


def source_run(uri: str, source: str) -> dict[str, Any]:
    """Return the run that is meant, as `mlflow_runs.list_runs` describes it: the best trial of a sweep or table, or a
    run by its name, its MLflow id, or SWEEP/TRIAL. Raises UsageError if there is none, or if the name means both."""
    found = find_runs.called(uri, source)
    sweeps = [run for run in found if run["tags"].get(tags.KIND_TAG) in tags.PARENTS]
    if not sweeps:
        return find_runs.named_run(uri, source)
    if len(sweeps) < len(found):
        raise UsageError(
            f"{source} is the name of a {sweeps[0]['tags'][tags.KIND_TAG]} and of a run: give the run's MLflow id, or "
            f"{source}/TRIAL."
        )
    trials = mlflow_runs.list_runs(uri, parent=sweeps[0]["run_id"])
    ended = [run for run in trials if tags.WEIGHTS_TAG in run["tags"]]
    if not ended:
        raise UsageError(f"No trial of {source} has ended with weights yet.")
    return max(ended, key=lambda run: run["metrics"].get("ap", 0.0))


def imported_run(uri: str, weights_file: Path, data: str, split: str) -> dict[str, Any]:
    """Return a run, made once, that stands for weights from elsewhere, to be proven on a split. Raises UsageError."""
    _, about = weights.load(weights_file)
    dataset = coco.load(folder_of(data), split)
    dataset.labels_of(about.names, str(weights_file))
    where = data if is_remote(data) else str(dataset.root)
    place = {"data.path": where, "data.val": split, "data.on_error": "fail"}
    key = f"import-{weights.fingerprint(weights_file)}-{where}-{split}"
    about_it = {tags.KIND_TAG: "import", tags.WEIGHTS_TAG: str(weights_file.resolve())}
    described = {"model.name": about.model.name, "data.image_size": about.image_size}
    run_id = mlflow_runs.open_run(uri, "imported", weights_file.stem, key, params=place | described, tags=about_it)
    mlflow_runs.finish_run(uri, run_id, TrialState.FINISHED)
    return find_runs.named_run(uri, run_id)


def promote(uri: str, run: dict[str, Any], storage: Storage, name: str, least_ap50: float) -> Promotion:
    """Fold the model of a run, whose weights are in the `storage`, let it prove itself on the run's validation split,
    register it and make it champion.

    Nothing is registered if these very weights are the champion already. Raises GateError if a gate says no, YolabError
    if MLflow can't be used.
    """
    called = find_runs.place_of(run)
    fingerprint, trained, about = _weights_of(run, storage, called)
    champion = _champion(uri, name)
    if champion is not None and champion.tags.get(_FINGERPRINT_TAG) == fingerprint:
        metrics = _metrics_in(champion.tags)
        _require([gates.verdict_on_ap50(metrics, least_ap50)], called)
        return Promotion(name, str(champion.version), called, False, (), metrics)

    dataset = record.validation_set_of(uri, run)
    label_of = dataset.labels_of(about.names, called)
    evidence = gates.Evidence(trained, fold(trained), dataset, label_of, about.image_size, least_ap50)
    verdicts = tuple(gate.check(evidence) for gate in gates.GATES.values())
    _require(verdicts, called)

    lineage = _lineage(run) | {_FINGERPRINT_TAG: fingerprint}
    lineage |= {f"yolab.{metric}": f"{value:.6f}" for metric, value in evidence.after.items()}
    with tempfile.TemporaryDirectory() as scratch:
        folded_file = Path(scratch) / package.WEIGHTS_FILE
        weights.save(evidence.folded, replace(about, folded=True), folded_file)
        packaged = package.log_package(uri, run["run_id"], folded_file, lineage)
    package.served(packaged.model_uri, uri)  # a package that can't be loaded must not become champion
    metrics = _metrics_in(lineage)
    version = _register(uri, name, packaged, lineage, _described(run, about, dataset, metrics))
    return Promotion(name, version, called, True, verdicts, metrics)


def _weights_of(run: dict[str, Any], storage: Storage, called: str) -> tuple[str, Detector, DetectorSpec]:
    """Return the fingerprint of a run's weights, and its detector. Raises UsageError if they are gone."""
    where = find_runs.weights_of(run, storage)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            file = local_file(where, Path(scratch))
            return weights.fingerprint(file), *weights.load(file)
        except FileNotFoundError:
            raise UsageError(f"The weights of {called} are not at {where}: say which --storage has them.") from None


def _require(verdicts: Iterable[Verdict], run_name: str) -> None:
    for verdict in verdicts:
        if not verdict.passed:
            raise GateError(f"{run_name} was not promoted: the gate “{verdict.gate}” measured {verdict.measured}.")


def _lineage(run: dict[str, Any]) -> dict[str, str]:
    """Return what the model comes from: run, configuration, data version, code."""
    wanted = (tags.DIGEST_TAG, tags.DATA_DIGEST_TAG, tags.DATA_VERSION_TAG, "mlflow.source.git.commit")
    found = {tag: run["tags"][tag] for tag in wanted if tag in run["tags"]}
    return {"yolab.run_id": run["run_id"], "yolab.run_name": run["name"]} | {
        tag.replace("mlflow.source.git.commit", "yolab.git_commit"): value for tag, value in found.items()
    }


def _champion(uri: str, name: str) -> ModelVersion | None:
    """Return the champion of a registered model, None if there is none yet. Raises YolabError if MLflow can't say."""
    with mlflow_runs.in_words(uri):
        try:
            return mlflow_runs.client(uri).get_model_version_by_alias(name, CHAMPION)
        except MlflowException as error:
            if not mlflow_runs.is_missing(error):
                raise
            return None


def _described(run: dict[str, Any], about: DetectorSpec, dataset: coco.Dataset, metrics: dict[str, float]) -> str:
    """Return what MLflow's page says of a version."""
    version = run["tags"].get(tags.DATA_VERSION_TAG)
    return (
        f"{about.model.name}, {about.image_size} px, {len(about.names)} classes. AP {metrics['ap']:.4f}, AP50 "
        f"{metrics['ap50']:.4f} on {dataset.split} of {dataset.root.name}"
        f"{f' ({version})' if version else ''}. From the run {find_runs.place_of(run)}."
    )


def _register(uri: str, name: str, packaged: ModelInfo, about: dict[str, str], description: str) -> str:
    """Make a logged model the champion of a registered model; return its version. A model that was registered for it
    goes again if there is no version. Raises YolabError if MLflow can't be used."""
    with package.speaking_to(uri):  # not the client alone: MLflow looks for the model where its functions speak to
        client = mlflow_runs.client(uri)
        new = _create_unless_there(client, name)
        try:
            source = {"source": packaged.model_uri, "run_id": packaged.run_id, "model_id": packaged.model_id}
            version = str(client.create_model_version(name, **source, tags=about, description=description).version)
        except MlflowException:
            if new:
                client.delete_registered_model(name)
            raise
        client.set_registered_model_alias(name, CHAMPION, version)
        return version


def _create_unless_there(client: Any, name: str) -> bool:
    """Register a model of that name; return whether it is new."""
    try:
        client.create_registered_model(name, description="Detectors promoted by yolab.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return False
    return True


def _metrics_in(about: dict[str, str]) -> dict[str, float]:
    """Return the scores that a version's tags hold."""
    return {name: float(about[f"yolab.{name}"]) for name in METRICS if f"yolab.{name}" in about}
