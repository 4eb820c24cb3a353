"""A bucket whose server is away, busy, or cut off in the middle; what can't be used; what is announced."""

import threading
from collections.abc import Iterator

import boto3
import pytest

from tests.storage.line import Line
from yolab.errors import UsageError, YolabError
from yolab.storage import Storage, bucket, storage_at
from yolab.storage.checkpoints import Checkpoints


@pytest.fixture
def line(s3: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """The line to the server, which everybody asks by from here on, with pauses too short to wait for."""
    made = Line(s3_server)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.server_address[1]}")
    monkeypatch.setattr(bucket, "_FIRST_PAUSE_SECONDS", 0.01)
    bucket._client.cache_clear()
    yield made
    made.shutdown()


@pytest.fixture
def place(s3: str, line: Line) -> Storage:
    return storage_at(f"{s3}/runs")


@pytest.mark.parametrize("fault", ["busy", "cut", "lost", "torn"])
def test_what_is_asked_is_done_though_the_server_fails_three_times(fault, place, line, tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"file" * 10_000)
    asked = {
        "write": lambda: place.write("a", b"1" * 1000),
        "create": lambda: place.create("lock", b"mine"),
        "append": lambda: place.append("log", b"one"),
        "keep": lambda: place.keep(tmp_path / "file"),
        "copy": lambda: place.copy("a", "b"),
    }
    done = {}
    for name, ask in asked.items():
        line.faults = [fault, fault, fault]
        done[name] = ask()
    assert done["create"] is True
    line.faults = [fault]
    assert place.names() == ["a", "b", "file", "lock", "log"]
    for name, content in {"a": b"1" * 1000, "b": b"1" * 1000, "file": b"file" * 10_000, "log": b"one\n"}.items():
        line.faults = [fault, fault]
        assert place.read(name) == content
    assert "It is asked again" in caplog.text


def test_a_lock_that_another_one_has_is_not_taken_though_an_answer_is_lost(place, line):
    place.write("lock", b"another's")
    line.faults = ["lost", "busy"]
    assert place.create("lock", b"mine") is False


def test_a_server_that_stays_away_is_told(place, line, monkeypatch):
    monkeypatch.setattr(bucket, "_PATIENCE_SECONDS", 0.3)
    line.faults = ["busy"] * 1000
    with pytest.raises(YolabError, match=f"{place} can't be used: .*503"):
        place._ask(lambda s3: s3.head_object(Bucket=place.bucket, Key="a"), patience=0.3)


def test_a_checkpoint_whose_upload_is_cut_for_good_is_never_announced(place, line, tmp_path, monkeypatch):
    checkpoints = Checkpoints(place)
    (tmp_path / "made").mkdir()
    for name in ("optimiser", "trained", "weights"):
        (tmp_path / "made" / name).write_bytes(b"epoch 1")
    checkpoints.save(1, tmp_path / "made")
    monkeypatch.setattr(bucket.Bucket._ask, "__defaults__", (0.1,))
    line.faults = [""] + ["cut"] * 1000
    with pytest.raises(YolabError, match="can't be used"):
        checkpoints.save(2, tmp_path / "made")
    line.faults = []
    assert [found.name[:6] for found in checkpoints.candidates()] == ["000001"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "NoSuchBucket"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "credentials"),
        ({"AWS_PROFILE": "nobody"}, "nobody"),
    ],
)
def test_what_will_be_no_different_the_next_time_is_refused_at_once(change, told, s3, line, tmp_path, monkeypatch):
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bucket._client.cache_clear()
    with pytest.raises(UsageError, match=rf"s3://nobody-has-it/runs can't be used: .*{told}"):
        storage_at("s3://nobody-has-it/runs").require_writable()


def test_a_large_file_is_sent_in_parts(s3, place, line, tmp_path, monkeypatch):
    monkeypatch.setattr(bucket, "_SINGLE_BYTES", 1 << 20)
    (tmp_path / "file").write_bytes(bytes(20 << 20))
    line.faults = ["busy", "", "cut"]
    place.keep(tmp_path / "file")
    assert place.size() == 20 << 20
    assert place.leftovers() == {}


def test_parts_of_files_that_never_came_are_found_and_removed(place):
    s3 = boto3.client("s3")
    for key in ("runs/a/weights", "elsewhere/b"):
        begun = s3.create_multipart_upload(Bucket=place.bucket, Key=key)
        named = {"Bucket": place.bucket, "Key": key, "UploadId": begun["UploadId"]}
        s3.upload_part(**named, PartNumber=1, Body=b"half")
    [(name, size)] = place.leftovers().items()
    assert (name.partition("?")[0], size) == ("a/weights", 4)
    place.remove_leftover(name)
    assert place.leftovers() == {}
