"""A folder that keeps files: whole, or not at all."""

import errno
import os
from pathlib import Path

import pytest

from yolab.errors import UsageError, YolabError
from yolab.storage import Folder, folder


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "runs")


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(storage, monkeypatch):
    storage.write("a", b"before")

    def disk_is_full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_is_full)
    with pytest.raises(OSError, match="no space"):
        storage.write("a", b"after")
    assert storage.read("a") == b"before"
    assert [path.name for path in storage.path.iterdir()] == ["a"]


def test_what_does_not_read_back_is_not_announced(storage, monkeypatch):
    monkeypatch.setattr(folder, "_sync", lambda path: path.write_bytes(b"tor") if path.is_file() else None)
    for write in (storage.write, storage.create):
        with pytest.raises(YolabError, match="is not what was written"):
            write("a", b"torn")
    assert storage.names() == []


def test_lines_are_whole_after_a_torn_one(storage):
    storage.append("log", b"one")
    with (storage.path / "log").open("ab") as file:
        file.write(b"to")
    storage.append("log", b"two")
    assert storage.read("log") == b"one\nto\ntwo\n"


@pytest.mark.parametrize("why", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT])
def test_a_place_that_takes_nothing_more_is_told_and_keeps_what_it_had_and_nothing_half_written(
    why, storage, monkeypatch, tmp_path
):
    source = tmp_path / "made"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "weights").write_bytes(b"new")
    storage.write("a", b"before")
    before = {path: path.read_bytes() for path in storage.path.rglob("*") if path.is_file()}

    def fails(*_: object) -> None:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr(Path, "write_bytes", fails)
    monkeypatch.setattr("shutil.copyfile", fails)
    for write in (
        lambda: storage.write("a", b"1"),
        lambda: storage.create("a", b"1"),
        lambda: storage.keep(source / "folder" / "weights"),
    ):
        with pytest.raises(YolabError, match=f"Can't write {storage}/.*: {os.strerror(why)}"):
            write()
    with pytest.raises(UsageError, match=f"The storage can't be {storage}"):
        storage.require_writable()
    assert {path: path.read_bytes() for path in storage.path.rglob("*") if path.is_file()} == before
