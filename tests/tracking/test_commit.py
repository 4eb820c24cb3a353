import subprocess
from pathlib import Path

import pytest

from yolab.tracking.commit import VARIABLE, commit_tags, described_commit


def test_the_commit_is_named_and_whether_files_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert commit_tags(tmp_path / "nowhere") == {}
    assert commit_tags(tmp_path) == {}
    git("init")
    assert commit_tags(tmp_path) == {}
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "one")
    (tmp_path / "untracked").write_text("1")
    commit = git("rev-parse", "HEAD")
    assert commit_tags(tmp_path) == {"mlflow.source.git.commit": commit, "yolab.git_dirty": "false"}
    (tmp_path / "file").write_text("2")
    assert commit_tags(tmp_path)["yolab.git_dirty"] == "true"
    monkeypatch.setenv(VARIABLE, described_commit(tmp_path))  # as a machine gets it that has no repository
    expected = {"mlflow.source.git.commit": commit, "yolab.git_dirty": "true"}
    assert commit_tags(tmp_path / "nowhere") == expected
