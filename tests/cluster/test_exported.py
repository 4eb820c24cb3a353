"""What Prometheus is told of a run."""

import pytest

from yolab.cluster import exported
from yolab.cluster.exported import Exported
from yolab.storage import Folder
from yolab.storage.hold import Hold


@pytest.mark.parametrize(("held", "run"), [("search", "search/trial-003"), ("search/trial-003", "trial-003")])
def test_an_epoch_is_told_by_the_name_of_its_run(held, run, tmp_path, monkeypatch):
    told = {}

    class Gauge:
        def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
            assert description
            self.name, self.keys = name, tag_keys

        def set(self, value: float, tags: dict[str, str]) -> None:
            assert set(tags) == set(self.keys)
            told[self.name, tags.get("phase")] = value, tags["run"], tags["rank"]

    monkeypatch.setattr(exported, "Gauge", Gauge)
    observer = Exported(Hold(Folder(tmp_path / held)), Folder(tmp_path / "search" / "trial-003"), 1)
    observer.epoch_ended(4, {"loss": 0.5, "step_data_seconds": 0.1, "ap_small": 0.2})
    about = run, "1"
    assert told == {
        ("yolab_epoch", None): (4.0, *about),
        ("yolab_loss", None): (0.5, *about),
        ("yolab_step_seconds", "data"): (0.1, *about),
    }
