"""What is recorded of a run besides its metrics: parameters to compare by, tags to find and trust it by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolab.models.count import cost
from yolab.models.weights import Description
from yolab.preflight import Cleared
from yolab.tracking import runs
from yolab.tracking.data_version import data_version
from yolab.training.optimiser import schedule

DIGEST_TAG = "yolab.digest"
KIND_TAG = "yolab.kind"  # train, sweep or trial
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
    own = {**tags, DIGEST_TAG: cleared.digest}
    return runs.open_run(uri, group, name, key, parent_id=parent_id, params=params_of(cleared), tags=own)
