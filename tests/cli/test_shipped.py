from pathlib import Path

import pytest

from tests.cli.conftest import Yolab


def test_what_is_listed_can_be_copied_and_used(yolab: Yolab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = yolab("ls", "--json").json()
    assert {"kind", "name", "about", "command"} == set(listed[0])
    assert all(item["name"] in yolab("ls").out for item in listed[:3])

    copied = yolab("cp", "demo", "mine.yaml", "--kind", "experiment")
    assert (copied.code, copied.out) == (0, "")
    assert "mine.yaml is a copy of the experiment demo" in copied.err
    again = yolab("cp", "demo", "mine.yaml", "--kind", "space")
    assert (again.code, "there already" in again.err) == (2, True)
