"""evaluate, called as a function."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from yolab.errors import UsageError
from yolab.evaluation.score_names import ALL_METRICS
from yolab.jobs import evaluate_job
from yolab.models import weights


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
