"""evaluate, called as a function."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from yolab.errors import UsageError
from yolab.evaluation.score_names import ALL_METRICS
from yolab.jobs import data_job, evaluate_job, predict_job
from yolab.jobs.weights_source import one_of
from yolab.models import weights
from yolab.search.trial import TrialState
from yolab.tracking import mlflow_runs
from yolab.tracking.tags import SWEEP_TAG, WEIGHTS_TAG


def test_evaluate_returns_the_scores_and_says_where_it_is(
    small_set: Path, small_weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = []

    class Heard(evaluate_job.Watcher):
        def note(self, text: str) -> None:
            told.append(text)

    submission = tmp_path / "out" / "submission.json"
    result = evaluate_job.evaluate(small_weights, small_set, submission=submission, watcher=Heard())
    assert tuple(result.metrics) == ALL_METRICS
    assert [each.name for each in result.classes] == ["box", "disc"]
    assert (result.split, result.images) == ("val2017", 8)
    assert told == [f"For the test server: {submission}"]
    json.loads(submission.read_text())
    document = result.document()
    assert list(document) == ["weights", "data", "split", "images", *ALL_METRICS, "ap/box", "ap/disc"]
    assert document["ap"] == result.metrics["ap"]
    assert capfd.readouterr().out == ""


def test_data_in_a_bucket_is_scored_as_the_same_here(
    small_set: Path, small_weights: Path, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data_job.pack(small_set, f"{s3}/small")
    here, there = (evaluate_job.evaluate(small_weights, data) for data in (small_set, f"{s3}/small"))
    assert (there.data, str(there.metrics)) == (f"{s3}/small", str(here.metrics))  # nan is no nan
    with pytest.raises(UsageError, match=r"There is a data set in .* already"):
        data_job.pack(small_set, f"{s3}/small")


@pytest.fixture
def storage(mlflow_uri: str, small_set: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage with a finished trial, scaling/trial-003, and a run that has no weights yet."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    params = {"data.path": str(small_set), "data.val": "val2017", "data.on_error": "fail"}
    for name, tags in (("trial-003", {SWEEP_TAG: "scaling", WEIGHTS_TAG: str(small_weights)}), ("begun", {})):
        run_id = mlflow_runs.open_run(mlflow_uri, "cells", name, name, params=params, tags=tags)
        mlflow_runs.finish_run(mlflow_uri, run_id, TrialState.FINISHED, {})
    return Path(mlflow_uri.removeprefix("sqlite:///")).parent


def test_a_run_is_scored_on_its_own_split_and_detects(storage: Path, small_set: Path, small_weights: Path) -> None:
    found = evaluate_job.evaluate("scaling/trial-003", storage=storage, device="cpu")
    assert (found.data, found.split, found.images) == (str(small_set), "val2017", 8)
    assert found.metrics == pytest.approx(evaluate_job.evaluate(small_weights, small_set).metrics, nan_ok=True)
    assert len(predict_job.predict(small_set / "val2017", "scaling/trial-003", most=1, storage=storage).images) == 1


@pytest.mark.parametrize(
    ("weights", "options", "told"),
    [
        ("begun", {}, "has not ended with weights yet"),
        ("scaling/trial-004", {}, "is not there in .* Did you mean scaling/trial-003"),
        ("scaling/trial-003", {"device": "gpu"}, "The device can't be gpu: take cpu"),
        ("FILE", {}, "is no run, so it doesn't say on what to score it: give --data"),
        ("none.safetensors", {}, "There are no weights at none.safetensors"),
    ],
)
def test_weights_that_can_not_be_meant_are_refused_in_words(
    weights: str, options: dict[str, str], told: str, storage: Path, small_weights: Path
) -> None:
    with pytest.raises(UsageError, match=told):
        evaluate_job.evaluate(small_weights if weights == "FILE" else weights, storage=storage, **options)


@pytest.mark.parametrize(("run", "weights"), [("mine", "w.safetensors"), (None, None)])
def test_one_of_run_and_weights_is_named(run: str | None, weights: str | None) -> None:
    with pytest.raises(UsageError, match=r"leave one out|name a run, or give --weights"):
        one_of(run, weights)


def test_classes_are_matched_by_name_and_those_that_the_data_lacks_are_not_scored(
    small_set: Path, small_weights: Path, tmp_path: Path
) -> None:
    detector, spec = weights.load(small_weights)
    wider, reversed_names = replace(spec, names=("ring", "disc", "box")), spec.names[::-1]
    told: list[str] = []

    class Heard(evaluate_job.Watcher):
        def note(self, text: str) -> None:
            told.append(text)

    expected = evaluate_job.evaluate(small_weights, small_set)
    for changed in (replace(spec, names=reversed_names), wider):
        target, file = changed.build().eval(), tmp_path / f"{len(changed.names)}.safetensors"
        weights.transfer(detector, spec.names, target, changed.names)
        for conv in target.head.outputs if changed is wider else ():
            conv.bias.data.view(3, -1)[:, 5] = -100  # no rings
        weights.save(target, changed, file)
        result = evaluate_job.evaluate(file, small_set, watcher=Heard())
        assert result.metrics == pytest.approx(expected.metrics, abs=1e-3, nan_ok=True)
        assert [each.name for each in result.classes] == ["box", "disc"]
    assert told == [f"1 of the 3 classes of {file} aren't in {small_set}: they are not scored."]

    strange = tmp_path / "strange.safetensors"
    weights.save(detector, replace(spec, names=("box", "0")), strange)
    with pytest.raises(UsageError, match=r"knows the classes box, 0, but .* has disc"):
        evaluate_job.evaluate(strange, small_set)
