"""models, called as a function."""

import importlib
from pathlib import Path

import pytest

from yolab.errors import UsageError
from yolab.experiment import Model, Scale
from yolab.jobs import models_job
from yolab.models.count import cost, counts_of
from yolab.models.spec import DetectorSpec


def test_counts_are_those_that_a_run_records_of_the_same_model() -> None:
    scale = Scale(depth=1.5, width=0.5)
    (found,) = models_job.models("yolov7-tiny", scale=scale, classes=2, size=128).models
    spec = DetectorSpec(Model(name="yolov7-tiny", scale=scale), ("a", "b"), 128)
    assert counts_of(spec) == {name: getattr(found, name) for name in ("params", "params_fused", "gflops")}
    assert models_job.models("yolov7-tiny", scale="depth=1.5,width=0.5", classes=2, size=128).models == (found,)


@pytest.mark.parametrize(
    ("name", "target", "scale", "told"),
    [
        (None, "cost.html", None, "name it"),
        ("yolov7", "cost.png", None, "must end in .html"),
        ("yolov7", "cost.html", "depth=2", "leave --scale out"),
    ],
)
def test_a_plot_that_can_not_be_meant_is_refused(tmp_path: Path, name, target, scale, told) -> None:
    with pytest.raises(UsageError, match=told):
        models_job.plot(name, tmp_path / target, scale=scale)


def test_what_was_counted_once_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scales = ["width=0.125", "width=0.25"]
    first = [models_job.models("yolov7-tiny", scale=scale) for scale in scales]
    counted = []
    module = importlib.import_module(models_job.__name__)  # what the package gives stands for it
    monkeypatch.setattr(module, "cost", lambda *what: counted.append(what) or cost(*what))
    assert [models_job.models("yolov7-tiny", scale=scale) for scale in scales] == first
    assert counted == []
    models_job.models("yolov7-tiny", scale=scales[0], classes=3)
    assert len(counted) == 1
