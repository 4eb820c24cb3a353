"""The git commit that a run was begun from."""

import os
import subprocess
from pathlib import Path

VARIABLE = "YOLAB_COMMIT"
_DIRTY = "-dirty"


def commit_tags(folder: Path) -> dict[str, str]:
    """Return the tags that name the commit a folder is at, and whether tracked files differ from it: what YOLAB_COMMIT
    says, where the repository is elsewhere; {} outside git."""
    commit, dirty, _ = (os.environ.get(VARIABLE) or described_commit(folder)).partition(_DIRTY)
    if not commit:
        return {}
    return {"mlflow.source.git.commit": commit, "yolab.git_dirty": "true" if dirty else "false"}


def described_commit(folder: Path) -> str:
    """Return the commit that a folder is at, with -dirty behind it if tracked files differ; "" outside git."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD") or ""
    changes = commit and _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}{_DIRTY}" if changes else commit


def _git(folder: Path, *arguments: str) -> str:
    """Return what git says, or nothing if it fails or isn't there."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
