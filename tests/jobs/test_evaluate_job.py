"""evaluate, called as a function."""

import json
from pathlib import Path

import pytest

from yolab.evaluation.score_names import ALL_METRICS
from yolab.jobs import evaluate_job


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
