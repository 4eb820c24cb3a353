import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import tiny_set
from yolab.data import copies, loaded_data
from yolab.data.copies import RemoteSet
from yolab.data.digest import content_digest
from yolab.data.pack import pack
from yolab.errors import UsageError, YolabError
from yolab.experiment import build, with_absolute_paths
from yolab.storage import Folder, Storage, storage_at
from yolab.tracking import data_version

SPLITS = ("train2017", "val2017")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine keeps copies, none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "yolab" / "data"


@pytest.fixture
def place(small_set: Path, tmp_path: Path) -> Storage:
    """A place with the small set, packed."""
    pack(small_set, tmp_path / "packed")
    place = Folder(tmp_path / "place")
    copies.publish(tmp_path / "packed", place)
    return place


def whole(cache: Path) -> list[str]:
    return [path.name for path in cache.glob("*") if path.is_dir() and path.suffix != ".incoming"]


def test_a_bucket_s_data_set_is_learned_from_as_the_one_that_was_packed(small_set, s3, tmp_path, cache):
    pack(small_set, tmp_path / "packed")
    copies.publish(tmp_path / "packed", storage_at(f"{s3}/sets/small"))
    data = with_absolute_paths(build({}, tiny_set.experiment(f"{s3}/sets/small"), "test")).data
    told = []
    ours = loaded_data.load(data, lambda *about: told.append(about))
    theirs = loaded_data.load(build({}, tiny_set.experiment(small_set), "test").data)
    assert ours.digest == theirs.digest
    assert any(what == f"Fetching {s3}/sets/small (MiB)" for what, _, _ in told)
    (copy,) = whole(cache)
    assert {path.stat().st_mode & 0o777 for path in (cache / copy).rglob("*") if path.is_file()} == {0o444}
    shutil.rmtree(cache)  # as on another machine
    copies._lock_of.cache_clear()
    for one, other in zip(ours.here().train.samples, theirs.train.samples, strict=True):
        np.testing.assert_array_equal(one.images.read(one.file_name), other.images.read(other.file_name))
    assert whole(cache) == [copy]


def gone(place: Folder) -> None:
    place.remove("train2017/00001.arrow")


def changed(place: Folder) -> None:
    place.write("train2017/00001.arrow", b"something else")


def listed_anew(place: Folder) -> None:
    place.write("manifest.json", place.read("manifest.json") + b" ")


def newer(place: Folder) -> None:
    place.write("manifest.json", json.dumps(json.loads(place.read("manifest.json")) | {"format": 99}).encode())


def outside(place: Folder) -> None:
    listed = json.loads(place.read("manifest.json"))
    listed["files"]["../../escaped"] = listed["files"].pop("train2017/00001.arrow")
    place.write("manifest.json", json.dumps(listed).encode())


@pytest.mark.parametrize(
    ("spoil", "first", "message"),
    [
        (gone, False, r"00001\.arrow, a file of the data set .*, is gone"),
        (changed, False, r"00001\.arrow is not what .* lists: put the data there anew"),
        (listed_anew, True, r"manifest\.json has changed: begin again"),
        (newer, False, "written by a newer yolab"),
        (outside, False, "can't have a file '../../escaped'"),
    ],
)
def test_what_is_not_what_is_listed_is_refused_and_no_copy_is_there(place, cache, spoil, first, message):
    if first:
        found = RemoteSet.packed(place)
        spoil(place)
    else:
        spoil(place)
        found = RemoteSet.packed(place)
    with pytest.raises((YolabError, UsageError), match=message):
        found.here()
    assert whole(cache) == []
    assert copies._is_free(found.folder)  # for another process to try
    assert not (cache.parent / "escaped").exists()


def test_a_place_without_a_data_set_is_told_with_what_to_do(tmp_path):
    with pytest.raises(UsageError, match=r"There is no data set in .*: put one there with `yolab data pack FOLDER"):
        RemoteSet.packed(Folder(tmp_path))


FETCH = """
import logging, sys
logging.basicConfig(level="INFO")
from yolab.data.copies import folder_of
print(folder_of(sys.argv[1]))
"""


def test_of_the_processes_of_a_machine_one_fetches(small_set, s3, tmp_path, cache):
    pack(small_set, tmp_path / "packed")
    copies.publish(tmp_path / "packed", storage_at(f"{s3}/small"))
    words = [sys.executable, "-c", FETCH, f"{s3}/small"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    told = [each.communicate() for each in [subprocess.Popen(words, **pipes) for _ in range(3)]]
    assert len({out for out, _ in told}) == len(whole(cache)) == 1
    assert sum(errors.count("Fetching") for _, errors in told) == 1


def test_what_was_fetched_before_a_kill_is_not_fetched_again(place, cache):
    found = RemoteSet.packed(place)
    incoming = cache / f"{found.folder.name}.incoming"
    shutil.copytree(place.path / "train2017", incoming / "train2017")
    gone(place)
    assert content_digest(found.here(), SPLITS)


def test_copies_that_nobody_uses_make_room_the_oldest_first(place, small_set, tmp_path, cache, monkeypatch):
    used = RemoteSet.packed(place).here()
    for name in ("old", "older"):
        (cache / name).mkdir()
        (cache / name / "file").write_bytes(bytes(1 << 20))
    os.utime(cache / "older", (0, 0))
    assert [path.name for path in copies.unused()] == ["older", "old"]
    other = Folder(tmp_path / "other")
    pack(tiny_set.write(tmp_path / "set", {"train2017": 4}), tmp_path / "packed-other")
    copies.publish(tmp_path / "packed-other", other)
    monkeypatch.setenv(copies.VARIABLE, str(2.0 / 1024))
    there = RemoteSet.packed(other).here()
    assert sorted(whole(cache)) == sorted([used.name, there.name, "old"])


def test_a_limit_that_is_too_low_is_told_before_anything_is_fetched(place, cache, monkeypatch):
    monkeypatch.setenv(copies.VARIABLE, "0.000001")
    with pytest.raises(UsageError, match=r"YOLAB_CACHE_GIB=1e-06 leaves 0\.0: raise it"):
        RemoteSet.packed(place).here()
    assert list(cache.glob("*.incoming")) == []


def test_what_a_kill_has_left_of_a_published_set_is_replaced(place, small_set, tmp_path):
    place.remove("manifest.json")
    copies.require_unpublished(place)
    copies.publish(tmp_path / "packed", place)
    assert content_digest(RemoteSet.packed(place).here(), SPLITS) == content_digest(small_set, SPLITS)
    with pytest.raises(UsageError, match=r"There is a data set in .* already"):
        copies.require_unpublished(place)


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(place, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UsageError, match=r"needs 0\.0 GiB and the disk of .* has 0\.0 GiB left: free some"):
        RemoteSet.packed(place).here()
    assert list(cache.glob("*.incoming")) == []


def dvc(*words: str, cwd: Path) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words, "--quiet"], cwd=cwd, check=True)


@pytest.fixture
def repository(small_set: Path, tmp_path: Path) -> Path:
    """A DVC repository whose data/, with the small set, is pinned, and has been pushed."""
    root = tmp_path / "repository"
    shutil.copytree(small_set, root / "data" / "small")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    dvc("init", cwd=root)
    dvc("remote", "add", "--default", "ours", str(tmp_path / "remote"), cwd=root)
    dvc("add", "data", cwd=root)
    dvc("push", cwd=root)
    return root


def test_a_pinned_folder_comes_from_the_dvc_remote_to_a_machine_that_lacks_it(repository, small_set):
    folder = repository / "data" / "small"
    data = with_absolute_paths(build({}, tiny_set.experiment(folder), "test")).data
    loaded = loaded_data.load(data, remotes=data_version.pushed([data.path]))
    assert loaded.here().train.root == folder
    shutil.rmtree(repository / "data")
    elsewhere = loaded.here()
    assert elsewhere.train.root != folder
    assert content_digest(elsewhere.train.root, SPLITS) == loaded.digest == content_digest(small_set, SPLITS)
    again = loaded_data.load(data, remotes=data_version.pushed([data.path]))  # a driver that lacks it, too
    assert again.digest == loaded.digest


def test_a_folder_that_is_not_what_was_pushed_is_not_taken_for_it(repository):
    folder = repository / "data" / "small"
    (folder / "train2017" / "001.png").write_bytes((folder / "train2017" / "002.png").read_bytes())
    data = build({}, tiny_set.experiment(folder), "test").data
    loaded = loaded_data.load(data, remotes=data_version.pushed([data.path]))
    shutil.rmtree(repository / "data")
    with pytest.raises(UsageError, match=r"is not what .*data/small is on the driver: push that \(`dvc push`\)"):
        loaded.here()


def test_a_machine_with_other_annotations_under_the_same_path_does_not_have_the_data(tmp_path):
    root = tiny_set.write(tmp_path / "set", {"train2017": 8, "val2017": 4})
    loaded = loaded_data.load(build({}, tiny_set.experiment(root), "test").data)
    assert loaded.here().train.root == root
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(file.read_text().replace('"disc"', '"ring"'))
    with pytest.raises(UsageError, match="or it has other annotations than the driver's"):
        loaded.here()


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("data/smal", "There is no folder smal in what is pinned"),
        ("data/small", r"isn't there: put the data there, `dvc"),
    ],
)
def test_a_typo_and_a_forgotten_push_are_told_and_leave_no_copy(folder, told, repository, tmp_path, cache):
    shutil.rmtree(repository / "data")
    if folder == "data/small":
        shutil.rmtree(tmp_path / "remote")
    data = build({}, tiny_set.experiment(repository / folder), "test").data
    with pytest.raises(UsageError, match=told):
        loaded_data.load(data, remotes=data_version.pushed([data.path]))
    assert whole(cache) == []


@pytest.mark.parametrize("config", ["[core]\n    remote = theirs\n", "[core\n"])
def test_a_repository_whose_remote_is_not_known_here_hinders_nobody(config, repository):
    (repository / ".dvc" / "config").write_text(config)
    assert data_version.pushed([str(repository / "data")]) == {}


@pytest.mark.parametrize("url", [None, "gs://bucket/sets"])
def test_a_pinned_folder_without_a_remote_that_can_be_read_is_the_one_that_is_here(url, small_set, tmp_path):
    root = tmp_path / "repository"
    shutil.copytree(small_set, root / "data")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    dvc("init", cwd=root)
    if url:
        dvc("remote", "add", "--default", "ours", url, cwd=root)
    dvc("add", "data", cwd=root)
    assert data_version.pushed([str(root / "data"), str(small_set), "s3://bucket/sets"]) == {}
