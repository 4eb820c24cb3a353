"""Removing runs: what goes goes as a whole, and what somebody needs stays."""

from pathlib import Path

import pytest

from yolab.errors import UsageError
from yolab.jobs import remove_job
from yolab.storage import Folder, Storage, claim
from yolab.storage.hold import Hold
from yolab.tracking import mlflow_runs
from yolab.tracking.tags import KIND_TAG, SWEEP_TAG


@pytest.fixture
def storage(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A storage with a run, and with a sweep of two trials."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = Folder(Path(mlflow_uri.removeprefix("sqlite:///")).parent)
    opened(place, "run", "train")
    parent = opened(place, "search", "sweep")
    for name in ("trial-000", "trial-001"):
        tags = {KIND_TAG: "trial", SWEEP_TAG: "search"}
        mlflow_runs.open_run(mlflow_uri, "cells", name, f"search/{name}", params={}, tags=tags, parent_id=parent)
    return place


def opened(storage: Storage, name: str, kind: str) -> str:
    key = claim.claim(storage / name, {})
    return mlflow_runs.open_run(uri_of(storage), "cells", name, key, params={}, tags={KIND_TAG: kind})


def uri_of(storage: Storage) -> str:
    return f"sqlite:///{storage}/mlflow.db"


def left(storage: Storage) -> tuple[set[str], set[str]]:
    """Return the names of the runs that are listed, and of the folders."""
    runs = {str(run["name"]) for run in mlflow_runs.list_runs(uri_of(storage))}
    return runs, {name for name in storage.names() if (storage / name).exists(claim.FILE_NAME)}


def test_a_sweep_goes_with_its_trials_and_nothing_goes_before_it_is_really_meant(storage: Storage) -> None:
    before = left(storage)
    going = remove_job.remove(["search"], storage=storage)
    assert sorted(going.runs) == ["search", "search/trial-000", "search/trial-001"]
    assert (going.folders, going.bytes > 0, left(storage)) == ((str(storage / "search"),), True, before)
    assert remove_job.remove(["search"], really=True, storage=storage).done
    assert left(storage) == ({"run"}, {"run"})


def test_what_a_killed_removal_has_left_hinders_no_other(storage: Storage) -> None:
    (storage.path / "run.incoming" / "checkpoint").mkdir(parents=True)
    remove_job.remove(["run"], really=True, storage=storage)
    assert not list(storage.path.glob("run*"))


def test_a_folder_that_mlflow_does_not_know_can_go(storage: Storage) -> None:
    claim.claim(storage / "crashed", {})
    assert remove_job.remove(["crashed", "run"], really=True, storage=storage).runs == ("run",)
    assert left(storage)[1] == {"search"}


def test_an_older_run_of_a_name_goes_by_its_id_without_the_folder_of_the_newer_one(storage: Storage) -> None:
    older = mlflow_runs.open_run(uri_of(storage), "cells", "run", "older", params={}, tags={KIND_TAG: "train"})
    with pytest.raises(UsageError, match="2 runs are called run: say which by its id"):
        remove_job.remove(["run"], storage=storage)
    assert remove_job.remove([older], really=True, storage=storage).folders == ()
    assert left(storage)[1] == {"run", "search"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("search/trial-000", "can't go alone: it is a part of search"),
        ("serch", "Did you mean search"),
        ("../runs", "is not there"),
    ],
)
def test_what_can_not_go_is_told_in_words(storage: Storage, name: str, told: str) -> None:
    before = left(storage)
    with pytest.raises(UsageError, match=told):
        remove_job.remove(["run", name], really=True, storage=storage)
    assert left(storage) == before


def test_what_somebody_works_on_or_has_registered_stays(storage: Storage) -> None:
    before = left(storage)
    with Hold(storage / "run").held(), pytest.raises(UsageError, match="Another command works on"):
        remove_job.remove(["run"], really=True, storage=storage)
    [run] = [run for run in mlflow_runs.list_runs(uri_of(storage)) if run["name"] == "run"]
    client = mlflow_runs.client(uri_of(storage))
    client.create_registered_model("cells")
    client.create_model_version("cells", str(storage.path), run["run_id"])
    with pytest.raises(UsageError, match="run stays: the registered cells/1 comes from it"):
        remove_job.remove(["run"], really=True, storage=storage)
    assert left(storage) == before
