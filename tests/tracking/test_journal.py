import math
import time
from pathlib import Path

import pytest

from yolab.tracking.flusher import Flusher
from yolab.tracking.journal import Journal, send_entries
from yolab.tracking.metric_names import in_mlflow
from yolab.tracking.mlflow_runs import client


def points(uri: str, run_id: str, key: str) -> list[tuple[int, float, int]]:
    """Return (step, value, time_ms) of a metric in MLflow, in order."""
    history = client(uri).get_metric_history(run_id, in_mlflow(key))
    return sorted((metric.step, metric.value, metric.timestamp) for metric in history)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run" / "journal.jsonl")


def test_entries_come_back_in_order_with_their_times(journal: Journal) -> None:
    before = time.time_ns() // 1_000_000
    for epoch in (1, 2):
        journal.append(epoch, {"loss": 1 / epoch})
    entries = Journal(journal.path).entries()
    assert [(entry["epoch"], entry["metrics"]) for entry in entries] == [(1, {"loss": 1.0}), (2, {"loss": 0.5})]
    assert before <= entries[0]["time_ms"] <= entries[1]["time_ms"] <= time.time_ns() // 1_000_000


def test_non_finite_values_survive(journal: Journal) -> None:
    journal.append(1, {"nan": math.nan, "up": math.inf, "down": -math.inf})
    metrics = journal.entries()[0]["metrics"]
    assert math.isnan(metrics["nan"])
    assert (metrics["up"], metrics["down"]) == (math.inf, -math.inf)


@pytest.mark.parametrize("torn", [b'{"time_ms": 17', b'{"time_ms": 1, "epoch": 3, "metrics": {}}', b"\0\0\0\n"])
def test_a_torn_last_line_is_ignored_and_cut(journal: Journal, torn: bytes) -> None:
    journal.append(1, {"loss": 1.0})
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + torn)
    assert len(journal.entries()) == 1
    again = Journal(journal.path)
    assert journal.path.read_bytes() == whole
    again.append(2, {"loss": 0.5})
    assert [entry["epoch"] for entry in again.entries()] == [1, 2]


def test_restoring_discards_the_steps_beyond_the_checkpoint(journal: Journal, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    journal.append(1, {"loss": 1.0})
    journal.copy_into(checkpoint)
    journal.append(2, {"loss": 0.5})
    journal.restore(checkpoint)
    assert [entry["epoch"] for entry in journal.entries()] == [1]
    journal.append(2, {"loss": 0.5})
    assert [entry["epoch"] for entry in journal.entries()] == [1, 2]


def test_restoring_from_nothing_empties_the_journal(journal: Journal, tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        journal.append(1, {"loss": 1.0})
        journal.restore(folder)
        assert journal.entries() == []


def test_points_arrive_with_their_original_times_and_epochs(journal: Journal, mlflow_uri: str, run_id: str) -> None:
    for epoch in range(1, 4):
        journal.append(epoch, {"loss": 1 / epoch, "AP/tv+monitor": 0.1 * epoch})
        time.sleep(0.002)
    expected = [(entry["epoch"], entry["metrics"]["loss"], entry["time_ms"]) for entry in journal.entries()]
    time.sleep(0.05)
    assert send_entries(journal.entries(), mlflow_uri, run_id) == 6
    assert points(mlflow_uri, run_id, "loss") == expected
    assert len(points(mlflow_uri, run_id, "AP/tv+monitor")) == 3


def test_more_points_than_one_call_takes_all_arrive(journal: Journal, mlflow_uri: str, run_id: str) -> None:
    for epoch in (1, 2, 3):
        journal.append(epoch, {f"class/{index}": float(index) for index in range(500)})
    assert send_entries(journal.entries(), mlflow_uri, run_id) == 1500
    assert len(points(mlflow_uri, run_id, "class/499")) == 3


def test_sending_again_doubles_nothing(journal: Journal, mlflow_uri: str, run_id: str) -> None:
    journal.append(1, {"loss": 1.0, "nan": math.nan})
    send_entries(journal.entries(), mlflow_uri, run_id)
    journal.append(2, {"loss": 0.5, "nan": math.nan})
    assert send_entries(journal.entries(), mlflow_uri, run_id) == 2
    assert send_entries(journal.entries(), mlflow_uri, run_id) == 0
    assert [step for step, _, _ in points(mlflow_uri, run_id, "loss")] == [1, 2]
    assert [step for step, _, _ in points(mlflow_uri, run_id, "nan")] == [1, 2]


def test_mlflow_itself_ignores_a_point_that_it_has(mlflow_uri: str, run_id: str) -> None:
    """This covers a batch that arrived although its answer got lost, with both workers past the look at MLflow."""
    from mlflow.entities import Metric

    for _ in range(2):
        batch = [Metric("own", 0.5, 1_700_000_000_000, 1), Metric("nan", math.nan, 1_700_000_000_000, 1)]
        client(mlflow_uri).log_batch(run_id, metrics=batch)
    assert len(points(mlflow_uri, run_id, "own")) == len(points(mlflow_uri, run_id, "nan")) == 1


def test_epochs_repeated_after_a_restore_are_not_sent_twice(
    journal: Journal, mlflow_uri: str, run_id: str, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for epoch in (1, 2, 3):
        journal.append(epoch, {"loss": 1 / epoch})
        if epoch == 1:
            journal.copy_into(checkpoint)
    send_entries(journal.entries(), mlflow_uri, run_id)
    first = points(mlflow_uri, run_id, "loss")
    journal.restore(checkpoint)
    time.sleep(0.01)  # the repeated epochs have other times
    flusher = Flusher(lambda: send_entries(journal.entries(), mlflow_uri, run_id))
    for epoch in (2, 3, 4):
        journal.append(epoch, {"loss": 1 / epoch})
        flusher.wake()
    assert flusher.close(30)
    assert points(mlflow_uri, run_id, "loss")[:3] == first
    assert [step for step, _, _ in points(mlflow_uri, run_id, "loss")] == [1, 2, 3, 4]


def test_the_flusher_sends_while_the_training_goes_on(journal: Journal, mlflow_uri: str, run_id: str) -> None:
    flusher = Flusher(lambda: send_entries(journal.entries(), mlflow_uri, run_id))
    journal.append(1, {"loss": 1.0})
    flusher.wake()
    deadline = time.monotonic() + 20
    while not points(mlflow_uri, run_id, "loss") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(points(mlflow_uri, run_id, "loss")) == 1
    journal.append(2, {"loss": 0.5})
    assert flusher.close(30)
    assert len(points(mlflow_uri, run_id, "loss")) == 2


def test_a_server_that_is_away_costs_the_training_nothing(
    journal: Journal, away_uri: str, mlflow_uri: str, run_id: str
) -> None:
    flusher = Flusher(lambda: send_entries(journal.entries(), away_uri, run_id))
    for epoch in (1, 2, 3):
        start = time.monotonic()
        journal.append(epoch, {"loss": 1 / epoch})
        flusher.wake()
        assert time.monotonic() - start < 0.2
    start = time.monotonic()
    assert not flusher.close(1)
    assert time.monotonic() - start < 2
    assert send_entries(journal.entries(), mlflow_uri, run_id) == 3


def test_a_flusher_without_entries_closes_at_once(journal: Journal, away_uri: str) -> None:
    assert Flusher(lambda: send_entries(journal.entries(), away_uri, "no-run")).close(5)
