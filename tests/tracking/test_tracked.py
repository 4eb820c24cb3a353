import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.reporting import Recorder, folder_reporter, newest
from yolab.storage import Folder
from yolab.tracking.journal import FILE_NAME, Journal
from yolab.tracking.mlflow_runs import client, list_runs
from yolab.tracking.outbox import Outbox
from yolab.tracking.tracked import Tracking, tracked
from yolab.training.reporter import Observer, Reporter


@contextmanager
def reported(folder: Path, uri: str, scratch: Path) -> Iterator[Reporter]:
    with tracked(Folder(folder), uri, scratch) as tracking:
        yield folder_reporter(folder, tracking)


def untracked(folder: Path) -> Reporter:
    """A reporter whose journal is sent nowhere."""
    return folder_reporter(folder, Tracking(Journal(folder / FILE_NAME), Outbox(Folder(folder)), None))


def train(reporter: Reporter, epochs: range, scratch: Path) -> None:
    """Report a loss of 1/epoch with a checkpoint for each epoch."""
    scratch.mkdir(exist_ok=True)
    for epoch in epochs:
        (scratch / "weights").write_text(str(epoch))
        reporter.report(epoch, {"loss": 1 / epoch}, scratch)


@pytest.fixture
def folder(outbox: Outbox) -> Path:
    return outbox.place.path


def epochs_in(path: Path) -> list[int]:
    return [entry["epoch"] for entry in Journal(path).entries()]


def test_every_checkpoint_carries_the_journal_up_to_its_epoch(folder: Path, tmp_path: Path) -> None:
    reporter = untracked(folder)
    assert reporter.restore() is None
    train(reporter, range(1, 4), tmp_path / "scratch")
    assert (newest(folder) / "weights").read_text() == "3"
    assert epochs_in(newest(folder) / FILE_NAME) == epochs_in(folder / FILE_NAME) == [1, 2, 3]
    assert not reporter.should_stop()
    assert reporter.also(Recorder(stop_after=0)).should_stop()


def test_the_log_has_the_epoch_after_which_a_scheduler_ends_a_trial(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Ended(Observer):
        def epoch_saved(self, epoch: int, metrics: Mapping[str, float]) -> None:
            if epoch == 2:
                raise SystemExit

    caplog.set_level("INFO", logger="yolab")
    reporter = untracked(folder).also(Ended())
    with pytest.raises(SystemExit):
        train(reporter, range(1, 5), tmp_path / "scratch")
    assert [message.split("  ")[0] for message in caplog.messages] == ["epoch 1", "epoch 2"]


def test_what_was_not_durable_is_repeated_and_in_the_journal_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ConnectionError("the storage is away")

    failing = untracked(folder)
    train(failing, range(1, 3), tmp_path / "scratch")
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write", fails)  # as the manifest is
        with pytest.raises(ConnectionError):
            train(failing, range(3, 5), tmp_path / "scratch")
    again = untracked(folder)
    restored = again.restore()
    assert restored is not None
    assert restored.path == newest(folder)
    assert epochs_in(folder / FILE_NAME) == [1, 2]
    train(again, range(3, 5), tmp_path / "scratch")
    assert epochs_in(folder / FILE_NAME) == [1, 2, 3, 4]


def test_a_run_that_is_interrupted_and_resumed_elsewhere_has_every_point_once(
    folder: Path, tmp_path: Path, mlflow_uri: str, run_id: str
) -> None:
    for place, epochs in (("here", range(1, 4)), ("there", range(4, 6))):
        with reported(folder, mlflow_uri, tmp_path / place) as reporter:
            reporter.restore()
            train(reporter, epochs, tmp_path / "scratch")
    history = client(mlflow_uri).get_metric_history(run_id, "loss/total")
    assert sorted((metric.step, metric.value) for metric in history) == [(epoch, 1 / epoch) for epoch in range(1, 6)]
    assert epochs_in(tmp_path / "there" / FILE_NAME) == [1, 2, 3, 4, 5]
    assert "system/cpu_utilization_percentage" in list_runs(mlflow_uri)[0]["metrics"]


def test_resuming_delivers_what_could_not_be_sent_before(
    folder: Path, tmp_path: Path, mlflow_uri: str, run_id: str
) -> None:
    """Even if nothing is left to train."""
    train(untracked(folder), range(1, 4), tmp_path / "scratch")
    with reported(folder, mlflow_uri, folder) as reporter:
        reporter.restore()
    assert len(client(mlflow_uri).get_metric_history(run_id, "loss/total")) == 3


def test_artifacts_are_kept_with_the_run_and_in_mlflow(
    folder: Path, tmp_path: Path, mlflow_uri: str, run_id: str
) -> None:
    (tmp_path / "picture.png").write_bytes(b"png")
    with reported(folder, mlflow_uri, folder) as reporter:
        reporter.save_artifact(tmp_path / "picture.png")
        reporter.save_artifact(tmp_path / "picture.png", "evaluation")
    assert (folder / "picture.png").exists()
    assert {file.path for file in client(mlflow_uri).list_artifacts(run_id)} == {"picture.png", "evaluation", "log.txt"}
    [sent] = client(mlflow_uri).list_artifacts(run_id, "evaluation")
    assert sent.path == "evaluation/picture.png"


def test_a_file_that_was_removed_keeps_no_other_from_mlflow(
    folder: Path, tmp_path: Path, mlflow_uri: str, run_id: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    with reported(folder, mlflow_uri, folder) as reporter:
        reporter.observers[0].outbox.file("removed.png")
        reporter.save_artifact(tmp_path / "a.png")
    assert [file.path for file in client(mlflow_uri).list_artifacts(run_id)] == ["a.png", "log.txt"]


def test_a_run_says_what_it_does_and_what_ended_it(folder: Path, tmp_path: Path, mlflow_uri: str, run_id: str) -> None:
    def fail() -> None:
        with reported(folder, mlflow_uri, folder) as reporter:
            train(reporter, range(1, 3), tmp_path / "scratch")
            raise ZeroDivisionError("in the third epoch")

    with pytest.raises(ZeroDivisionError):
        fail()
    said = (folder / "log.txt").read_text()
    assert "epoch 2  loss" in said
    assert "ZeroDivisionError: in the third epoch" in said
    assert 'raise ZeroDivisionError("in the third epoch")' in said


def test_artifacts_stay_in_the_folder_and_never_block_if_mlflow_is_away(
    folder: Path,
    tmp_path: Path,
    outbox: Outbox,
    away_uri: str,
    mlflow_uri: str,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    start = time.monotonic()
    with reported(folder, away_uri, folder) as reporter:
        for name in ("a.png", "b.png"):
            (tmp_path / name).write_bytes(b"png")
            reporter.save_artifact(tmp_path / name)
            assert (folder / name).exists()
        assert time.monotonic() - start < 1
    assert outbox.left() == 4  # that it is open, the pictures and the log
    outbox.deliver(mlflow_uri)
    assert outbox.left() == 0
    assert {file.path for file in client(mlflow_uri).list_artifacts(run_id)} == {"a.png", "b.png", "log.txt"}
