"""A place that keeps files, of either kind."""

import threading

import pytest
from pyarrow.fs import LocalFileSystem

from yolab.errors import UsageError
from yolab.storage import local_file, storage_at


def test_a_place_is_what_is_named_else_the_environments_else_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("YOLAB_STORAGE", raising=False)
    assert storage_at().path == tmp_path / "runs"
    monkeypatch.setenv("YOLAB_STORAGE", "elsewhere")
    assert storage_at().path == tmp_path / "elsewhere"
    assert storage_at(f"file://{tmp_path}/named").path == storage_at(tmp_path / "named").path == tmp_path / "named"
    for named in ("s3://bucket/some/runs", "S3://bucket/some/runs/"):
        assert str(storage_at(named)) == "s3://bucket/some/runs"
    assert str(storage_at("s3://bucket")) == "s3://bucket"


@pytest.mark.parametrize(
    ("named", "told"), [("gs://bucket/runs", "gs is not supported"), ("s3://", "name a bucket"), ("file", "is a file")]
)
def test_a_place_that_can_not_be_is_refused_in_words(named, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=told):
        storage_at(named)


def test_what_is_written_is_read_and_listed_and_removed(storage):
    assert storage.names() == []
    storage.write("a", b"1")
    storage.write("a", b"22")
    (storage / "folder").write("b", b"3")
    assert (storage.read("a"), storage.read("a", start=1), storage.read("folder/b")) == (b"22", b"2", b"3")
    assert storage.names() == ["a", "folder"]
    assert [storage.exists(name) for name in ("folder", "a", "fold")] == [True, True, False]
    assert (storage / "folder").size() == 1
    assert (storage / "folder").parent == storage
    assert storage_at(str(storage / "folder")).read("b") == b"3"
    assert -2 < storage.now() - storage.written_at("a") < 60
    for missing in (storage.read, storage.written_at):
        with pytest.raises(FileNotFoundError):
            missing("never")
    storage.remove("a")
    storage.remove("folder")
    storage.remove("never")
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


def test_a_file_that_grows_is_read_from_where_one_was(storage):
    written = b""
    for number in range(40):
        line = bytes([97 + number % 26]) * 5000
        storage.append("log", line)
        read = len(written)
        written += line + b"\n"
        assert storage.read("log", start=read) == line + b"\n"
        assert storage.read("log", start=len(written)) == b""
    assert storage.read("log") == written
    assert storage.names() == ["log"]
    assert storage.exists("log")
    storage.remove("log")
    assert not storage.exists("log")


def test_what_many_append_at_once_is_all_there(storage):
    together, lines = threading.Barrier(4), [f"{number:03d}".encode() * 2000 for number in range(60)]

    def append(own: list[bytes]) -> None:
        together.wait()
        for line in own:
            storage.append("log", line)

    threads = [threading.Thread(target=append, args=(lines[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # one that is half written when another is added looks torn: there is an empty line more, which readers pass over
    found = [line for line in storage.read("log").splitlines() if line]
    assert sorted(found) == lines
    assert [line for line in found if line in lines[::4]] == lines[::4]  # each one's own, in order


def test_a_kept_file_is_copied_in_place_of_one_of_that_name(storage, tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    storage.keep(tmp_path / "a.png", "pictures")
    (tmp_path / "a.png").write_bytes(b"2")
    kept = storage.keep(tmp_path / "a.png", "pictures")
    assert kept == "pictures/a.png"
    assert (storage / "pictures").names() == ["a.png"]
    scratch = tmp_path / "scratch"
    assert storage.local(kept, scratch).read_bytes() == b"2"
    assert (storage.local("pictures", scratch) / "a.png").read_bytes() == b"2"
    assert ((storage / "pictures").local("", scratch) / "a.png").read_bytes() == b"2"
    if "://" in str(storage):
        assert local_file(f"{storage}/{kept}", scratch).read_bytes() == b"2"


def test_arrow_writes_where_the_place_is(storage):
    path, system = storage.for_arrow()
    system = system or LocalFileSystem()
    system.create_dir(path)
    with system.open_output_stream(f"{path}/a") as file:
        file.write(b"1")
    assert storage.read("a") == b"1"


def test_a_second_name_keeps_a_files_content(storage):
    storage.write("a", b"1")
    storage.write("b", b"2")
    storage.copy("a", "b")
    with pytest.raises(FileNotFoundError):
        storage.copy("never", "b")
    storage.write("a", b"3")
    assert storage.read("b") == b"1"
    assert storage.names() == ["a", "b"]
