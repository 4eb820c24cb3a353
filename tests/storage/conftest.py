"""Storages of both kinds."""

from pathlib import Path

import pytest

from yolab.storage import Folder, Storage, storage_at


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A storage in which nothing is yet."""
    if request.param == "folder":
        return Folder(tmp_path / "runs")
    return storage_at(f"{request.getfixturevalue('s3')}/some/runs")
