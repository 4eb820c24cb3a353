import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from yolab.errors import YolabError
from yolab.search.trial import TrialState
from yolab.storage import Folder
from yolab.storage.checkpoints import Checkpoints
from yolab.tracking import mlflow_runs, outbox
from yolab.tracking.journal import Journal
from yolab.tracking.mlflow_runs import client, list_runs
from yolab.tracking.outbox import FILE_NAME, Delivery, Outbox


def opened(folder: Path) -> Outbox:
    made = Outbox(Folder(folder))
    about = {"params": {"seed": 0}, "tags": {"kind": "train"}}
    made.open(experiment_name="tests", run_name=folder.name, key=folder.name, **about)
    return made


@pytest.fixture
def ended(tmp_path: Path) -> Outbox:
    """The outbox of a run of two epochs with a picture, which has ended."""
    made = opened(tmp_path / "ended")
    journal = Journal(tmp_path / "journal" / "journal.jsonl")
    for epoch in (1, 2):
        journal.append(epoch, {"ap": epoch / 8})
    Checkpoints(made.place).save(2, tmp_path / "journal")
    (tmp_path / "ended" / "picture.png").write_bytes(b"png")
    made.file("picture.png", "evaluation")
    made.end(TrialState.FINISHED, {"seconds": 3.0}, {"weights": "there"})
    return made


def test_what_was_said_while_mlflow_was_away_arrives_once(ended: Outbox, away_uri: str, mlflow_uri: str) -> None:
    with pytest.raises(YolabError, match="can't be used"):
        ended.deliver(away_uri)
    assert (ended.run_id, ended.left()) == (None, 3)
    for _ in range(2):
        ended.deliver(mlflow_uri)
    [run] = list_runs(mlflow_uri)
    assert (run["run_id"], run["status"], run["params"]) == (ended.run_id, "FINISHED", {"seed": "0"})
    assert run["metrics"] == {"ap": 0.25, "seconds": 3.0}
    assert (run["tags"]["yolab.state"], run["tags"]["kind"], run["tags"]["weights"]) == ("finished", "train", "there")
    assert [point.step for point in client(mlflow_uri).get_metric_history(run["run_id"], "val/ap")] == [1, 2]
    assert [file.path for file in client(mlflow_uri).list_artifacts(run["run_id"], "evaluation")] == [
        "evaluation/picture.png"
    ]


def test_the_folder_of_a_run_can_be_moved_before_it_is_delivered(
    ended: Outbox, mlflow_uri: str, tmp_path: Path
) -> None:
    ended.place.path.rename(tmp_path / "moved")
    Outbox(Folder(tmp_path / "moved")).deliver(mlflow_uri)
    [run] = list_runs(mlflow_uri)
    assert run["metrics"]["ap"] == 0.25
    assert client(mlflow_uri).list_artifacts(run["run_id"])


def test_a_run_that_goes_on_is_open_again(ended: Outbox, mlflow_uri: str) -> None:
    ended.open(experiment_name="tests", run_name="ended", key="ended", params={}, tags={})
    ended.deliver(mlflow_uri)
    assert [run["status"] for run in list_runs(mlflow_uri)] == ["RUNNING"]


def test_a_locked_database_is_away(ended: Outbox, mlflow_uri: str) -> None:
    uri = f"{mlflow_uri}?timeout=0.1"
    with sqlite3.connect(mlflow_uri.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(YolabError, match="locked"):
            ended.deliver(uri)
        other.execute("ROLLBACK")
    ended.deliver(uri)
    assert ended.left() == 0


def test_a_file_that_mlflow_does_not_take_keeps_nothing_else_from_it(
    ended: Outbox, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise YolabError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow_runs, "log_artifact", refuse)
        with pytest.raises(YolabError, match="no room"):
            ended.deliver(mlflow_uri)
    assert [run["status"] for run in list_runs(mlflow_uri)] == ["FINISHED"]
    assert ended.left() == 1


def test_a_message_that_a_kill_has_torn_is_left_out(ended: Outbox, mlflow_uri: str) -> None:
    with (ended.place.path / FILE_NAME).open("a") as file:
        file.write('{"file": "pict')
    ended.end(TrialState.FAILED)
    ended.deliver(mlflow_uri)
    assert [run["status"] for run in list_runs(mlflow_uri)] == ["FAILED"]


def test_several_who_deliver_at_the_same_time_make_one_run(ended: Outbox, mlflow_uri: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ended.deliver(mlflow_uri), range(4)))
    assert len(list_runs(mlflow_uri)) == 1


def test_a_delivery_brings_the_rest_when_mlflow_is_back_and_nothing_holds_up_another(
    tmp_path: Path, ended: Outbox, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = threading.Event()
    deliver = Outbox.deliver

    def deliver_if_back(self: Outbox, uri: str) -> None:
        if self.place.name == "broken" or not back.is_set():
            raise YolabError("away")
        deliver(self, uri)

    monkeypatch.setattr(Outbox, "deliver", deliver_if_back)
    monkeypatch.setattr(outbox, "PATIENCE_SECONDS", 3.0)
    delivery = Delivery(mlflow_uri)
    for each in (opened(tmp_path / "broken"), ended):
        delivery.add(each)
    time.sleep(0.1)
    assert list_runs(mlflow_uri) == []
    back.set()
    delivery.close()
    assert [run["name"] for run in list_runs(mlflow_uri)] == ["ended"]


def test_what_is_left_at_the_end_is_said_and_kept(
    ended: Outbox, away_uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "PATIENCE_SECONDS", 0.5)
    delivery = Delivery(away_uri)
    delivery.add(ended)
    start = time.monotonic()
    delivery.close()
    assert time.monotonic() - start < 3
    assert f"has yet to hear 3 messages about {ended.place}." in caplog.text
