"""A place that keeps files: whole, or not at all."""

import errno
import os
import threading
from pathlib import Path

import pytest

from yolab.errors import UsageError, YolabError
from yolab.storage import Storage, place


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "runs")


def test_a_place_is_what_is_named_else_the_environments_else_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("YOLAB_STORAGE", raising=False)
    assert Storage.at().path == tmp_path / "runs"
    monkeypatch.setenv("YOLAB_STORAGE", "elsewhere")
    assert Storage.at().path == tmp_path / "elsewhere"
    assert Storage.at(f"file://{tmp_path}/named").path == Storage.at(tmp_path / "named").path == tmp_path / "named"
    with pytest.raises(UsageError, match="s3 is not supported"):
        Storage.at("s3://bucket/prefix")


def test_what_is_written_is_read_and_listed_and_removed(storage):
    assert storage.names() == []
    storage.write("a", b"1")
    storage.write("a", b"22")
    (storage / "folder").write("b", b"3")
    assert (storage.read("a"), storage.read("a", start=1), storage.read("folder/b")) == (b"22", b"2", b"3")
    assert storage.names() == ["a", "folder"]
    assert storage.age_seconds("a") < 60
    storage.remove("a")
    storage.remove("folder")
    storage.remove("never")
    assert storage.names() == []


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
    monkeypatch.setattr(place, "_sync", lambda path: path.write_bytes(b"tor") if path.is_file() else None)
    for write in (storage.write, storage.create):
        with pytest.raises(YolabError, match="is not what was written"):
            write("a", b"torn")
    assert storage.names() == []


def test_of_many_that_create_a_file_at_once_one_does(storage):
    together, created = threading.Barrier(8), []

    def create(number: int) -> None:
        together.wait()
        if storage.create("lock", str(number).encode()):
            created.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(created) == 1
    assert storage.read("lock") == str(created[0]).encode()
    assert storage.names() == ["lock"]


def test_lines_are_whole_after_a_torn_one(storage):
    storage.append("log", b"one")
    with (storage.path / "log").open("ab") as file:
        file.write(b"to")
    storage.append("log", b"two")
    assert storage.read("log") == b"one\nto\ntwo\n"


def test_a_kept_file_is_copied_in_place_of_one_of_that_name(storage, tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    storage.keep(tmp_path / "a.png", "pictures")
    (tmp_path / "a.png").write_bytes(b"2")
    kept = storage.keep(tmp_path / "a.png", "pictures")
    assert kept == "pictures/a.png"
    assert storage.read(storage.keep(storage.path / kept, "pictures")) == b"2"
    assert (storage / "pictures").names() == ["a.png"]
    assert storage.local(kept, tmp_path).read_bytes() == b"2"


def test_a_second_name_keeps_a_files_content(storage):
    storage.write("a", b"1")
    storage.write("b", b"2")
    storage.copy("a", "b")
    storage.write("a", b"3")
    assert storage.read("b") == b"1"
    assert storage.names() == ["a", "b"]


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
