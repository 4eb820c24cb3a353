import json
from pathlib import Path

import pytest

from tests import tiny_set
from yolab.jobs import data_job
from yolab.jobs.watcher import Watcher


class Counting(Watcher):
    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int | None]] = []

    def progress(self, what: str, done: int = 0, total: int | None = None) -> None:
        self.heard.append((what, done, total))


def test_a_sound_set_is_told_as_a_value_and_the_watcher_hears_of_each_image(
    small_set: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing is remembered
    watcher = Counting()
    verified = data_job.verify(small_set, watcher=watcher)
    assert (verified.exit_code, verified.report.images) == (0, 32)
    assert watcher.heard[-1] == ("Checking", 32, 32)
    assert capfd.readouterr() == ("", "")


def test_faults_are_a_result_with_the_exit_code_of_wrong_usage(tmp_path: Path) -> None:
    root = tiny_set.write(tmp_path / "set", {"train2017": 2, "val2017": 1})
    next((root / "val2017").iterdir()).write_bytes(b"no picture")
    verified = data_job.verify(root)
    assert (verified.report.ok, verified.exit_code) == (False, 2)
    json.dumps(verified.document())


def test_a_version_is_ready_for_json(small_set: Path) -> None:
    version = data_job.version(small_set)
    assert version.pinned is None
    assert json.loads(json.dumps(version.document()))["content_digest"] == version.content_digest
