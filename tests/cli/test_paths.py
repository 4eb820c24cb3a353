"""A path that can't be what a command needs: one sentence that says which, and what to do."""

from pathlib import Path

import pytest

from tests.cli.conftest import Yolab


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("sweep", "list", "--storage", "FILE"), "it is a file. Name a folder"),
        (("runs", "--storage", "FILE"), "it is a file. Name a folder"),
        (("train", "demo", "--storage", "FILE"), "it is a file. Name a folder"),
        (("data", "demo", "FILE/set"), "a part of it is a file"),
        (("export", "new.onnx", "--weights", "FOLDER"), "There are no weights at FOLDER"),
    ],
)
def test_a_path_of_the_wrong_kind_is_refused(
    yolab: Yolab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("x")
    Path("FOLDER").mkdir()
    answer = yolab(*command)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FILE", "FOLDER"]
