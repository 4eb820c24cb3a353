"""What Tune is told, and what a trial makes of errors."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from yolab.cluster.ray_tune import PointSearcher, TuneCheckpoints, _cannot_fit, _Recorder, scheduler_of
from yolab.errors import UsageError, YolabError
from yolab.search.schedulers import Settings
from yolab.search.searchers import ListSearcher
from yolab.search.sweep_folder import SweepFolder
from yolab.storage import Storage
from yolab.tracking.outbox import Outbox


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), True),
        (MemoryError(), True),
        (UsageError("data.image_size can't be 33."), True),
        (YolabError("The loss is no longer a number."), False),
        (RuntimeError("a bug"), False),
    ],
)
def test_a_point_that_does_not_fit_is_told_from_a_failure(error, expected):
    assert _cannot_fit(error) is expected


def test_a_restored_search_gives_nothing_twice(tmp_path):
    folder = SweepFolder(Storage(tmp_path / "sweep"))
    first = PointSearcher(ListSearcher({"a": {}, "b": {}}), folder)
    assert first.suggest("id")["trial"] == "a"
    first.save(str(tmp_path / "state"))
    second = PointSearcher(ListSearcher({"a": {}, "b": {}}), folder)
    second.restore(str(tmp_path / "state"))
    assert second.suggest("id")["trial"] == "b"
    assert second.suggest("id") == PointSearcher.FINISHED


def verdict(scheduler: Any, ap: float) -> str:
    trial = SimpleNamespace(trial_id="new")
    scheduler.on_trial_add(None, trial)
    return scheduler.on_trial_result(None, trial, {"epoch": 3, "ap": ap})


def test_asha_holds_the_trials_of_a_later_part_against_those_of_the_earlier_ones():
    events = [{"trial": "trial-000", "state": "running", "point": {}, "params": 1e6}]
    events += [{"trial": f"trial-{number:03d}", "epoch": 3, "ap": 0.1 * number} for number in range(6)]
    settings = Settings(epochs=12, grace=3, reduction=2)
    for ap, expected in ((0.2, "STOP"), (0.9, "CONTINUE")):
        assert verdict(scheduler_of("asha", settings, []), ap) == "CONTINUE"  # nothing to hold it against
        assert verdict(scheduler_of("asha", settings, events), ap) == expected


def test_a_trial_that_its_scheduler_stops_ends_through_should_stop(tmp_path, monkeypatch):
    told = []

    def report(metrics: dict, checkpoint: object) -> None:
        told.append(metrics)
        if metrics["epoch"] == 2:
            raise SystemExit(0)

    monkeypatch.setattr("yolab.cluster.ray_tune.tune.report", report)
    checkpoints = TuneCheckpoints(tmp_path)
    checkpoints.save(1, {"ap": 0.5, "loss": 3.0, "ap/cat": 0.4}, None)
    assert not checkpoints.should_stop()
    checkpoints.save(2, {"loss": 2.0}, None)
    assert checkpoints.should_stop()
    assert [(each["epoch"], each["ap"], "loss" in each) for each in told] == [(1, 0.5, False), (2, 0.5, False)]


def test_what_happens_to_trials_is_written_down_and_ends_their_runs(tmp_path):
    """Without an MLflow, because what it will be told is what matters here."""
    folder = SweepFolder(Storage(tmp_path / "sweep"))
    recorder = _Recorder(SimpleNamespace(folder=folder, uri="", tags={}), "key")

    def trial(name: str, scores: Sequence[float] = (), **last: object) -> SimpleNamespace:
        folder.append({"trial": name, "state": "running", "point": {}, "epochs": 3, "patience": 1})
        about = {"experiment_name": "tests", "run_name": name, "key": name, "params": {}, "tags": {}}
        Outbox(folder.place / name).open(**about)
        result = {"time_total_s": 1.0, **last}
        checkpoint = SimpleNamespace(path=str(tmp_path / name))
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "scores.json").write_text(json.dumps(scores))
        return SimpleNamespace(config={"trial": name, "point": {}}, last_result=result, checkpoint=checkpoint)

    recorder.on_trial_result(1, [], trial("whole", epoch=3), {"epoch": 1, "ap": 0.1})
    recorder.on_trial_complete(1, [], trial("whole", epoch=3, ap=0.3))
    recorder.on_trial_complete(1, [], trial("early", [0.1, 0.2], epoch=2, ap=0.2))
    recorder.on_trial_complete(1, [], trial("no better", [0.2, 0.1], epoch=2, ap=0.1))
    recorder.on_trial_complete(1, [], trial("large", failure="infeasible", reason="out of memory"))
    failing = trial("broken")
    failing.get_error = lambda: RuntimeError("traceback\nlast line")
    recorder.on_trial_error(1, [], failing)
    rows = SweepFolder(folder.place).rows()
    states = {name: row["state"] for name, row in rows.items()}
    assert states == {
        "whole": "finished",
        "early": "stopped early",
        "no better": "finished",
        "large": "infeasible",
        "broken": "failed",
    }
    said = {name: (tmp_path / "sweep" / name / "outbox.jsonl").read_text().splitlines()[-1] for name in states}
    assert {name: json.loads(end)["end"]["state"] for name, end in said.items()} == states
    assert json.loads(said["whole"])["journal"] == str(tmp_path / "whole" / "journal.jsonl")
    assert rows["whole"]["weights"] == str(tmp_path / "whole" / "weights.safetensors")
    assert (rows["large"]["reason"], rows["broken"]["reason"]) == ("out of memory", "last line")
