"""Runs in MLflow: where they are, open, finish and list them. Everything that needs an answer at once and may fail;
what a training has to say takes the outbox and the journal."""

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from sqlalchemy.exc import SQLAlchemyError

from yolab.errors import UsageError, YolabError
from yolab.evaluation.score_names import COUNTS
from yolab.experiment import did_you_mean
from yolab.search.trial import TrialState
from yolab.tracking import artifacts_beside, metric_names
from yolab.tracking.mlflow_uri import database_is_missing, knock, without_password, without_password_of
from yolab.tracking.tags import NAME_TAG

KEY_TAG = "yolab.key"
STATE_TAG = "yolab.state"
PARENT_TAG = "mlflow.parentRunId"
PARAMS_PER_CALL = 100  # MLflow's limit
RUNS_PER_PAGE = 1000
SAMPLING_SECONDS = 5.0
LONGEST_PARAM, LONGEST_TAG = 6000, 8000  # characters that MLflow takes
_IS_CUT = " … (cut)"

logger = logging.getLogger(__name__)


@contextmanager
def in_words(uri: str) -> Iterator[None]:
    """Turn what MLflow raises inside the block into one sentence, without the password that a URI may hold: every call
    of MLflow stands in one."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = without_password_of(uri, str(error).split("\n")[0])
        raise YolabError(f"MLflow at {without_password(uri)} can't be used: {reason}") from error


def is_missing(error: MlflowException) -> bool:
    """Return whether MLflow answered that there is no such model, version or alias: any other error is an outage."""
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")


def check_answers(uri: str) -> None:
    """Return if MLflow answers at the URI. Raises YolabError, with the reason and within seconds, if it doesn't."""
    with in_words(uri):
        knock(uri)
        client(uri).search_experiments(max_results=1)


def client(uri: str) -> Any:
    """Return an MlflowClient that gives up after seconds: MLflow's own patience of 7 retries at 120 s would hold up
    those who wait for it. What the user has set in the environment stays."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    return MlflowClient(tracking_uri=uri)


def _cut(text: str, most: int) -> str:
    """Return a parameter's or tag's value as MLflow accepts it. Both are for people and for filters: the experiment
    itself is a file of the run."""
    return text if len(text) <= most else text[: most - len(_IS_CUT)] + _IS_CUT


def open_run(
    uri: str,
    experiment_name: str,
    run_name: str,
    key: str,
    *,
    parent_id: str | None = None,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    metrics: Mapping[str, float] | None = None,
    dataset: Mapping[str, Any] | None = None,
) -> str:
    """Return the id of the one run with this key in the experiment, made if there is none; its status is then RUNNING.

    `params` by dotted path, `metrics` that are known beforehand, the `dataset` that it learns from: name, digest,
    source (its folder) and profile (what is in it). A reused run keeps its first parameters and metrics: equal keys are
    equal work, what may differ is where it runs. Artifacts are next to an SQLite file, otherwise where the server
    chooses. One caller a key.
    Raises YolabError if MLflow can't be used, UsageError if the experiment was deleted.
    """
    with in_words(uri):
        mlflow = client(uri)
        experiment_id = _experiment_id(mlflow, uri, experiment_name)
        same_key = mlflow.search_runs(
            [experiment_id], f"tags.`{KEY_TAG}` = '{key}'", order_by=["attributes.start_time ASC"], max_results=1
        )
        all_tags = {name: _cut(str(value), LONGEST_TAG) for name, value in tags.items()} | {KEY_TAG: key}
        all_tags |= {PARENT_TAG: parent_id} if parent_id else {}
        if same_key:
            run = same_key[0]
            mlflow.update_run(run.info.run_id, status=TrialState.RUNNING.mlflow_status)
            mlflow.log_batch(run.info.run_id, tags=[RunTag(*tag) for tag in all_tags.items()])
        else:
            run = mlflow.create_run(experiment_id, tags=all_tags, run_name=run_name)
        described = {name: _cut(str(value), LONGEST_PARAM) for name, value in params.items()}
        missing = [Param(*param) for param in described.items() if param[0] not in run.data.params]
        for start in range(0, len(missing), PARAMS_PER_CALL):
            mlflow.log_batch(run.info.run_id, params=missing[start : start + PARAMS_PER_CALL], synchronous=True)
        now_ms = time.time_ns() // 1_000_000
        known = {metric_names.in_mlflow(name): float(value) for name, value in (metrics or {}).items()}
        points = [Metric(*point, now_ms, 0) for point in known.items() if point[0] not in run.data.metrics]
        mlflow.log_batch(run.info.run_id, metrics=points, synchronous=True)
        if dataset:
            mlflow.log_inputs(run.info.run_id, [_dataset_input(**dataset)])
        return str(run.info.run_id)


def finish_run(
    uri: str,
    run_id: str,
    state: TrialState,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """End a run in a state, with last metrics (those of equal value are left as they are) and tags. Finishing twice is
    harmless.

    Raises YolabError if MLflow can't be used.
    """
    with in_words(uri):
        mlflow = client(uri)
        logged = mlflow.get_run(run_id).data._metric_objs
        value_of = {metric.key: metric.value for metric in logged}
        last_step = max((metric.step for metric in logged if not metric.key.startswith("system/")), default=0)
        now_ms = time.time_ns() // 1_000_000
        last = {metric_names.in_mlflow(name): float(value) for name, value in (metrics or {}).items()}
        points = [Metric(*point, now_ms, last_step) for point in last.items() if value_of.get(point[0]) != point[1]]
        all_tags = {STATE_TAG: state, **(tags or {})}
        run_tags = [RunTag(name, _cut(str(value), LONGEST_TAG)) for name, value in all_tags.items()]
        mlflow.log_batch(run_id, metrics=points, tags=run_tags, synchronous=True)
        mlflow.set_terminated(run_id, state.mlflow_status)


def log_artifact(uri: str, run_id: str, path: Path, artifact_path: str | None = None) -> None:
    """Keep a file with a run, in the folder `artifact_path` of its artifacts. Raises YolabError if MLflow can't."""
    with in_words(uri):
        client(uri).log_artifact(run_id, str(path), artifact_path)


def fetch(uri: str, run_id: str, artifact: str, target: Path) -> Path | None:
    """Copy a file of a run's artifacts into a local folder; return it, or None if there is none. Raises YolabError if
    MLflow can't be used."""
    here = artifacts_beside.found_here(uri, run_id, artifact)
    if here:
        return Path(shutil.copy(here, target))
    with in_words(uri):
        mlflow = client(uri)
        if artifact not in (item.path for item in mlflow.list_artifacts(run_id, artifact.rpartition("/")[0])):
            return None
        return Path(mlflow.download_artifacts(run_id, artifact, str(target)))


def last_step(uri: str, run_id: str, metric: str) -> int | None:
    """Return the last step (an epoch) that a metric of a run has a value of. Raises YolabError if MLflow can't be
    used."""
    with in_words(uri):
        logged = client(uri).get_run(run_id).data._metric_objs  # the public RunData.metrics has no steps
        return max((point.step for point in logged if metric_names.short(point.key) == metric), default=None)


def has_ended(uri: str, run_id: str) -> bool:
    """Return whether a run works no more. Raises YolabError if MLflow can't be used."""
    with in_words(uri):
        return bool(client(uri).get_run(run_id).info.status != TrialState.RUNNING.mlflow_status)


def registered_from(uri: str) -> dict[str, str]:
    """Return the versions of registered models, as NAME/VERSION, by the id of the run that they come from. Raises
    YolabError if MLflow can't be used."""
    with in_words(uri):
        found = _pages(client(uri).search_model_versions)
        return {version.run_id: f"{version.name}/{version.version}" for version in found}


def delete_run(uri: str, run_id: str) -> None:
    """Take a run out of all lists; MLflow keeps it until `mlflow gc`. Raises YolabError if MLflow can't be used."""
    with in_words(uri):
        client(uri).delete_run(run_id)


def list_runs(
    uri: str, experiment: str | None = None, parent: str | None = None, where: str | None = None
) -> list[dict[str, Any]]:
    """Return all runs, newest first, as dicts of name, run_id, experiment, status, params, metrics, tags, start_time,
    end_time (milliseconds since 1970, None while it runs) and parent_id.

    Metrics have their short names; `name` is that of the run's folder. `experiment`, `parent` (a run id) and `where`
    (MLflow's filter, in which metrics may have their short names) narrow the list. Raises UsageError if there is no
    such experiment or filter, YolabError if MLflow can't be used.
    """
    if database_is_missing(uri):
        return []
    narrowed = [f"tags.`{PARENT_TAG}` = '{parent}'"] if parent else []
    wanted = [" AND ".join([*narrowed, form]) for form in metric_names.filters(where)] if where else narrowed or [""]
    with in_words(uri):
        mlflow = client(uri)
        names = {found.experiment_id: found.name for found in _pages(mlflow.search_experiments)}
        if experiment is not None and experiment not in names.values():
            raise UsageError(f"MLflow has no experiment {experiment!r}.{did_you_mean(experiment, names.values())}")
        ids = [id_ for id_, found in names.items() if experiment in (None, found)]
        try:
            runs = [
                run
                for each in (wanted if ids else ())
                for run in _pages(mlflow.search_runs, experiment_ids=ids, filter_string=each)
            ]
        except MlflowException as error:
            if not where or error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise UsageError(f"MLflow can't read the filter {where!r}: {str(error).splitlines()[0]}") from None
        if len(wanted) > 1:
            runs = sorted({run.info.run_id: run for run in runs}.values(), key=lambda run: -run.info.start_time)
        return [_as_dict(run, names) for run in runs]


@contextmanager
def system_metrics(uri: str, run_id: Callable[[], str | None]) -> Iterator[None]:
    """Log the load of this machine every 5 seconds as MLflow's `system/…` metrics, once the run has an id.

    A thread does it, which neither blocks nor fails the work inside and needs no active run. While MLflow is away,
    samples are kept.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_sample, args=(uri, run_id, stop), name="yolab-system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=SAMPLING_SECONDS)


def _sample(uri: str, run_id: Callable[[], str | None], stop: threading.Event) -> None:
    """Sample until `stop`. MLflow's own loop gives up for good at the first request that fails, hence this one."""
    monitor = None
    while not stop.is_set():
        try:
            known = run_id()
            if monitor is None and known:
                client(uri).get_run(known)  # the monitor itself would start again at step 0 if this failed
                monitor = SystemMetricsMonitor(known, resume_logging=True, tracking_uri=uri)
            if monitor:
                monitor.collect_metrics()
                monitor.publish_metrics(monitor.aggregate_metrics())
                monitor.mlflow_logger.flush()  # keeps what it could not send
        except Exception as error:
            logger.debug("No system metrics for now: %s", error)
        stop.wait(SAMPLING_SECONDS)


def _experiment_id(mlflow: Any, uri: str, name: str) -> str:
    found = mlflow.get_experiment_by_name(name)
    if found is None:
        root = artifacts_beside.folder_of(uri)
        try:
            return str(mlflow.create_experiment(name, artifact_location=root.as_uri() if root else None))
        except MlflowException as error:
            found = mlflow.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:  # made by another process meanwhile
                raise
    if found.lifecycle_stage == "deleted":
        raise UsageError(
            f"The MLflow experiment {name!r} was deleted: take another name (tracking.experiment=…), "
            f"or bring it back with `mlflow experiments restore --experiment-id {found.experiment_id}`."
        )
    artifacts_beside.require_not_moved(uri, found)
    return str(found.experiment_id)


def page_of_newest(uri: str) -> str:
    """Return where MLflow's pages list the runs of the experiment that the newest run belongs to: by themselves they
    open in a mode for language models, in which no run is to be seen. Raises YolabError if MLflow can't be used."""
    with in_words(uri):
        mlflow = client(uri)
        ids = [found.experiment_id for found in _pages(mlflow.search_experiments)]
        newest = mlflow.search_runs(ids, order_by=["attributes.start_time DESC"], max_results=1)
    place = f"/{newest[0].info.experiment_id}" if newest else ""
    return f"#/experiments{place}?workflowType=machine_learning"


def _dataset_input(name: str, digest: str, source: str, profile: Mapping[str, Any]) -> DatasetInput:
    kept = Dataset(name, digest, "local", json.dumps({"uri": source}), profile=json.dumps(profile))
    return DatasetInput(kept, [InputTag("mlflow.data.context", "training")])


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(**arguments, max_results=RUNS_PER_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _as_dict(run: Any, experiment_names: Mapping[str, str]) -> dict[str, Any]:
    tags = dict(run.data.tags)
    params = dict(run.data.params)
    counts = {name: float(params[name]) for name in COUNTS if name in params}  # an earlier yolab had them there
    running = run.info.status == TrialState.RUNNING.mlflow_status
    return {
        "name": tags.get(NAME_TAG, run.info.run_name),
        "run_id": run.info.run_id,
        "experiment": experiment_names[run.info.experiment_id],
        "status": run.info.status,
        "params": params,
        "metrics": counts | metric_names.by_short_name(run.data.metrics),
        "tags": tags,
        "start_time": run.info.start_time,
        "end_time": None if running else run.info.end_time,  # a resumed run still has its former one
        "parent_id": run.data.tags.get(PARENT_TAG),
    }
