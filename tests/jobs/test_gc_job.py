"""Garbage: what nobody needs goes, when that is said, and nothing else."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from yolab.data import copies
from yolab.errors import YolabError
from yolab.jobs import gc_job, sweep_job, sweeps_job
from yolab.search.trial import TrialState
from yolab.storage import Folder, Storage, bucket, claim
from yolab.storage.checkpoints import Checkpoints
from yolab.storage.hold import Hold
from yolab.tracking.outbox import Outbox

# How a run ended, what it lacks, and whether its checkpoints can go
RUNS = {
    "finished": (TrialState.FINISHED, "", True),
    "stopped-early": (TrialState.STOPPED_EARLY, "", True),
    "stopped": (TrialState.STOPPED, "", False),
    "failed": (TrialState.FAILED, "", False),
    "open": (None, "", False),
    "without-weights": (TrialState.FINISHED, "weights.safetensors", False),
    "unheard": (TrialState.FINISHED, "heard", False),
}


def ran(place: Storage, state: TrialState | None, lacks: str, uri: str, folder: Path) -> None:
    """Leave what a run leaves."""
    outbox = Outbox(place)
    outbox.open(experiment_name="cells", run_name=place.name, key=str(place), params={}, tags={})
    (folder / "weights.safetensors").write_bytes(bytes(1000))
    checkpoints = Checkpoints(place)
    for epoch in (1, 2):
        checkpoints.save(epoch, folder)
    if lacks != "weights.safetensors":
        checkpoints.deliver("weights.safetensors")
    if state:
        outbox.end(state)
    if lacks != "heard":
        outbox.deliver(uri)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine keeps copies of data sets, none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "yolab" / "data"


def test_copies_of_data_sets_go_that_nobody_uses(cache: Path, tmp_path: Path) -> None:
    for name in ("used", "unused"):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_bytes(bytes(1000))
    with copies._alone_with(cache / "used"):
        assert gc_job.collect(storage=tmp_path).copies == {str(cache / "unused"): 1000}
        assert gc_job.collect(storage=tmp_path, really=True).done
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["used"]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


def test_checkpoints_go_whose_run_is_at_its_end_and_their_weights_stay(mlflow_uri: str, made: Path) -> None:
    storage = Folder(Path(mlflow_uri.removeprefix("sqlite:///")).parent)
    for name, (state, lacks, _) in RUNS.items():
        claim.claim(storage / name, {})
        ran(storage / name, state, lacks, mlflow_uri, made)
    expected = {f"{name}/checkpoints" for name, (_, _, goes) in RUNS.items() if goes}
    shown = gc_job.collect(storage=storage)
    assert (set(shown.checkpoints), shown.bytes > 4000, shown.done) == (expected, True, False)
    assert all(storage.exists(name) for name in expected)
    with Hold(storage / "finished").held():
        assert set(gc_job.collect(storage=storage).checkpoints) == expected - {"finished/checkpoints"}
    assert set(gc_job.collect(really=True, storage=storage).checkpoints) == expected
    assert not any(storage.exists(name) for name in expected)
    assert storage.exists("finished/weights.safetensors")
    assert gc_job.collect(storage=storage).checkpoints == {}


@pytest.mark.parametrize("ended", [True, False])
def test_the_trials_of_a_table_keep_theirs_until_it_is_at_its_end(ended: bool, mlflow_uri: str, made: Path) -> None:
    storage = Folder(Path(mlflow_uri.removeprefix("sqlite:///")).parent)
    claim.claim(storage / "table", {"table": "mine", "budget": "smoke"})
    outbox = Outbox(storage / "table")
    outbox.open(experiment_name="cells", run_name="table", key="table", params={}, tags={})
    outbox.end(TrialState.FINISHED if ended else TrialState.STOPPED)
    ran(storage / "table" / "row", TrialState.FINISHED, "", mlflow_uri, made)
    expected = ["table/row/checkpoints"] if ended else []
    assert list(gc_job.collect(storage=storage).checkpoints) == expected


def test_what_a_broken_off_write_has_left_goes_after_a_day(tmp_path: Path) -> None:
    storage = Folder(tmp_path)
    for name, days in (("old", 2), ("new", 0)):
        path = tmp_path / "run" / f"{name}.x.incoming"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_mtime - days * 86400,) * 2)
    assert gc_job.collect(really=True, storage=storage).leftovers == {"run/old.x.incoming": 4}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["new.x.incoming"]


@pytest.mark.parametrize("ask", [gc_job.collect, sweeps_job.list_sweeps, lambda: sweep_job.resume("search")])
def test_a_bucket_that_is_away_when_a_command_begins_is_told_at_once(
    ask: Callable[[], object], s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLAB_STORAGE", f"{s3}/runs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(bucket, "_KNOCK_SECONDS", 1.0)
    bucket._client.cache_clear()
    with pytest.raises(YolabError, match="can't be used: Could not connect"):
        ask()
