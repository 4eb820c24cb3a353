"""What Tune is told, and what a trial makes of errors."""

import json
import pickle
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
from ray.train._internal.storage import StorageContext
from ray.tune import TuneError
from ray.tune.experiment import Trial

from yolab.cluster.ray_train import EpochTeller
from yolab.cluster.ray_tune import Trials, TuneTeller, _cannot_fit, _last_error, _Recorder, _was_lost, run
from yolab.cluster.starts import MOST_STARTS, Starts
from yolab.cluster.tune_search import Memory, PointSearcher
from yolab.errors import UsageError, YolabError
from yolab.experiment import Compute
from yolab.preflight import Capacity
from yolab.search.schedulers import Settings
from yolab.search.searchers import ListSearcher
from yolab.search.sweep_folder import SweepFolder
from yolab.storage import Folder, claim
from yolab.storage.checkpoints import Checkpoints
from yolab.tracking.journal import Journal
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


def test_a_search_gives_first_what_has_begun_and_nothing_twice(tmp_path):
    folder, recalled = SweepFolder(Folder(tmp_path / "sweep")), []
    folder.append({"trial": "b", "state": "stopped", "point": {}})
    memory = SimpleNamespace(recall=lambda *names: recalled.append(names))
    searcher = PointSearcher(ListSearcher({"a": {}, "b": {}}), folder, memory)
    assert [searcher.suggest(tune_id)["trial"] for tune_id in ("1", "2")] == ["a", "b"]
    assert searcher.suggest("3") == PointSearcher.FINISHED
    assert recalled == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(("most", "expected"), [(None, 3), (2, 2), (8, 3)])
def test_no_more_trials_run_at_the_same_time_than_fit_or_are_wanted(most, expected, tmp_path, monkeypatch):
    checked = SimpleNamespace(experiment=SimpleNamespace(compute=Compute()), data=None)
    folder = SweepFolder(Folder(tmp_path))
    claim.claim(folder.place, {})
    trials = Trials(folder, checked, "", "", {}, ListSearcher({"a": {}}), 0)
    seen = []
    for name in ("require_reach", "ray.put", "tune.with_resources"):
        monkeypatch.setattr(f"yolab.cluster.ray_tune.{name}", lambda *_: None)
    tuner = SimpleNamespace(fit=lambda: folder.append({"trial": "a", "state": "finished", "point": {}}))
    monkeypatch.setattr("yolab.cluster.ray_tune._tuner", lambda *given: seen.append(given[2]) or tuner)
    run(trials, Capacity(((3, 0),)), most)
    assert seen == [expected]


@pytest.mark.parametrize(("lost", "rounds"), [(2, 3), (99, MOST_STARTS)])
def test_trials_that_are_lost_as_they_begin_begin_again_but_not_for_ever(lost, rounds, tmp_path, monkeypatch):
    checked = SimpleNamespace(experiment=SimpleNamespace(compute=Compute()), data=None)
    folder, fits = SweepFolder(Folder(tmp_path)), list[int]()
    claim.claim(folder.place, {})
    trials = Trials(folder, checked, "", "", {}, ListSearcher({"a": {}}), 0)

    def fit() -> None:
        fits.append(1)
        if len(fits) > lost:
            folder.append({"trial": "a", "state": "finished", "point": {}})

    for name in ("require_reach", "ray.put", "tune.with_resources"):
        monkeypatch.setattr(f"yolab.cluster.ray_tune.{name}", lambda *_: None)
    monkeypatch.setattr("yolab.cluster.ray_tune._tuner", lambda *_: SimpleNamespace(fit=fit))
    with nullcontext() if lost < rounds else pytest.raises(YolabError, match="are lost as soon as trials begin"):
        run(trials, Capacity(((3, 0),)))
    assert len(fits) == rounds


def verdict(scheduler: Any, ap: float) -> str:
    trial = SimpleNamespace(trial_id="new")
    scheduler.on_trial_add(None, trial)
    return scheduler.on_trial_result(None, trial, {"epoch": 3, "ap": ap})


def asha(tmp_path: Path, events: Sequence[dict]) -> Memory:
    folder = SweepFolder(Folder(tmp_path / "sweep"))
    for event in events:
        folder.append(event)
    return Memory("asha", Settings(epochs=12, grace=3, reduction=2), SweepFolder(folder.place))


def had(trial: str, ap: float, state: str = "finished") -> list[dict]:
    """The events of a trial that had three epochs."""
    begun = {"trial": trial, "state": "running", "point": {}, "params": 1e6}
    return [begun, begun | {"epoch": 3, "ap": ap}, {"trial": trial, "state": state, "point": {}}]


@pytest.mark.parametrize(("ap", "expected"), [(0.2, "STOP"), (0.9, "CONTINUE")])
def test_asha_holds_the_trials_of_a_later_part_against_those_of_the_earlier_ones(ap, expected, tmp_path):
    assert verdict(asha(tmp_path, []).scheduler, ap) == "CONTINUE"  # nothing to hold it against
    events = [event for number in range(6) for event in had(f"trial-{number:03d}", 0.1 * number)]
    assert verdict(asha(tmp_path, events).scheduler, ap) == expected


def test_asha_judges_a_trial_that_goes_on_once_at_each_rung(tmp_path):
    """Its score after five epochs is no score after three."""
    events = had("trial-000", 0.1, "stopped") + had("trial-001", 0.2)
    memory = asha(tmp_path, events)
    memory.recall("trial-000", "new")
    goes_on = SimpleNamespace(trial_id="new")
    memory.scheduler.on_trial_add(None, goes_on)
    assert memory.scheduler.on_trial_result(None, goes_on, {"epoch": 5, "ap": 0.15}) == "CONTINUE"
    [bracket] = memory.scheduler._brackets
    assert {milestone: recorded for milestone, recorded in bracket._rungs if recorded} == {
        3: {"trial-001": 0.2, "new": 0.1}
    }


def told_to_tune(monkeypatch: pytest.MonkeyPatch, stop_after: int) -> list[tuple[dict, Any]]:
    """Collect what Tune is told from here on; its scheduler stops the trial after an epoch."""
    told = []

    def report(metrics: dict, checkpoint: Any) -> None:
        handed_on = pickle.loads(Path(checkpoint.path, "checkpoint.pickle").read_bytes()) if checkpoint else None
        told.append((metrics, handed_on))
        if metrics["epoch"] == stop_after:
            raise SystemExit(0)

    monkeypatch.setattr("yolab.cluster.ray_tune.tune.report", report)
    return told


def test_a_trial_that_its_scheduler_stops_ends_through_should_stop(monkeypatch):
    told = told_to_tune(monkeypatch, stop_after=2)
    to_tune = TuneTeller(None)
    teller = EpochTeller(to_tune.tell)
    teller.epoch_saved(1, {"ap": 0.5, "loss": 3.0, "ap/cat": 0.4})
    assert not to_tune.should_stop()
    teller.epoch_saved(2, {"loss": 2.0})
    assert to_tune.should_stop()
    assert [(each["epoch"], each["ap"], "ap/cat" in each) for each, _ in told] == [(1, 0.5, False), (2, 0.5, False)]
    assert [checkpoint for _, checkpoint in told] == [None, None]


@pytest.mark.parametrize(("epochs_left", "expected"), [(0, [(2, 0.3)]), (1, [(3, 0.3)])])
def test_a_trial_that_goes_on_tells_the_score_that_it_had_and_if_nothing_is_left_its_last_epoch(
    epochs_left, expected, tmp_path
):
    journal, told = Journal(tmp_path / "journal.jsonl"), []
    journal.append(1, {"ap": 0.3, "loss": 2.0})
    journal.append(2, {"loss": 1.0})
    teller = EpochTeller(told.append)
    teller.restored(tmp_path)
    for epoch in range(3, 3 + epochs_left):
        teller.epoch_saved(epoch, {"loss": 0.5})
    teller.end()
    assert [(each["epoch"], each["ap"]) for each in told] == expected


def test_tune_hands_on_where_a_checkpoint_is(tmp_path, monkeypatch):
    told = told_to_tune(monkeypatch, stop_after=2)
    checkpoints = Checkpoints(Folder(tmp_path / "trial-000"))
    (tmp_path / "made").mkdir()
    checkpoints.save(1, tmp_path / "made")
    TuneTeller(checkpoints).tell({"epoch": 1, "seconds": 1.0})
    assert [checkpoint for _, checkpoint in told] == [checkpoints.newest()]


def test_what_happens_to_trials_is_written_down_and_ends_their_runs(tmp_path):
    """Without an MLflow, because what it will be told is what matters here."""
    folder = SweepFolder(Folder(tmp_path / "sweep"))
    recorder = _Recorder(SimpleNamespace(folder=folder, uri="", tags={}), "key", "driver")

    def trial(name: str, *scores: float, **last: object) -> SimpleNamespace:
        """One that had an epoch for each of these scores."""
        folder.append({"trial": name, "state": "running", "point": {}, "epochs": 3, "patience": 1})
        about = {"experiment_name": "tests", "run_name": name, "key": name, "params": {}, "tags": {}}
        Outbox(folder.place / name).open(**about)
        made = tmp_path / "made" / name
        journal = Journal(made / "journal.jsonl")
        for epoch, score in enumerate(scores, start=1):
            journal.append(epoch, {"ap": score})
        for file, content in (("scores.json", json.dumps(scores)), ("weights.safetensors", name)):
            (made / file).write_text(content)
        if scores:
            Checkpoints(folder.place / name).save(len(scores), made)
        recorder.worked_before[name] = 10.0
        return SimpleNamespace(config={"trial": name, "point": {}}, last_result=last)

    with folder.held():
        whole = trial("whole", 0.1, 0.2, 0.3)
        for epoch, ap in enumerate((0.1, 0.2), start=1):  # the last comes after the end
            recorder.on_trial_result(1, [], whole, {"epoch": epoch, "ap": ap, "seconds": epoch - 1.0})
        recorder.on_trial_complete(1, [], whole)
        for name, scores in (("early", (0.1, 0.2)), ("no better", (0.2, 0.1))):
            stopped = trial(name, *scores)
            recorder.on_trial_result(2, [], stopped, {"epoch": 2, "ap": scores[-1], "seconds": 2.0})
            recorder.on_trial_complete(2, [], stopped)
        recorder.on_trial_complete(1, [], trial("large", failure="infeasible", reason="out of memory"))
        failing = trial("broken")
        failing.error_file, failing.pickled_error_file = str(tmp_path / "error.txt"), None
        (tmp_path / "error.txt").write_text("Failure # 1 (occurred at …)\ntraceback\nlast line\n")
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
    assert json.loads(said["whole"])["journal"].startswith("checkpoints/000003-")
    assert json.loads(said["whole"])["end"]["metrics"] == {"trial_seconds": 11.0}
    assert Path(rows["whole"]["weights"]).read_text() == "whole"
    assert (rows["whole"]["epoch"], rows["whole"]["ap"], rows["whole"]["time_total_s"]) == (3, 0.3, 11.0)
    assert (rows["large"]["reason"], rows["broken"]["reason"]) == ("out of memory", "last line")


def failed(error: Exception, tmp_path: Path) -> Trial:
    """Return a trial of Tune's that has just failed so."""
    trial = Trial("trainable", stub=True, storage=StorageContext(str(tmp_path), "sweep", trial_dir_name="trial-000"))
    trial.handle_error(error)
    return trial


@pytest.mark.parametrize(
    ("error", "text", "lost", "memory"),
    [
        (ray.exceptions.RayActorError(), "", True, False),
        (ray.exceptions.OutOfMemoryError("above the memory usage threshold"), "above the memory", False, True),
        (TuneError("traceback\nlast line"), "traceback\nlast line", False, False),
    ],
)
def test_what_tune_says_of_a_failure_is_understood(error, text, lost, memory, tmp_path, monkeypatch):
    monkeypatch.setattr(StorageContext, "trial_driver_staging_path", str(tmp_path))  # Ray's own is not to be had alone
    trial = failed(error, tmp_path)
    assert text in _last_error(trial)
    assert _was_lost(trial) is lost
    place = Folder(tmp_path / "sweep-folder")
    folder = SweepFolder(place)
    trial.config = {"trial": "trial-000"}
    recorder = _Recorder(SimpleNamespace(folder=folder, retries=0), "key", "driver")
    for _ in range(MOST_STARTS + 1):
        recorder.on_trial_recover(1, [], trial)
    assert (Starts.of(place / "trial-000", "driver").without_memory > 0) is memory
    trial.handle_error(error)
    assert not trial.should_recover()  # it failed too often without a word
