import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from yolab.errors import UsageError
from yolab.tracking.data_version import DataVersion, check, data_version, pin


def run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)


def fill(folder: Path) -> None:
    (folder / "train2017").mkdir(parents=True)
    (folder / "labels.json").write_text("{}")
    for index in range(3):
        (folder / "train2017" / f"{index}.bmp").write_bytes(bytes([index]) * 100)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git and DVC repository with data/demo in it, not yet pinned."""
    root = tmp_path / "repository"
    root.mkdir()
    run("git", "init", cwd=root)
    (root / ".gitignore").write_text("/data/\n")
    run(sys.executable, "-m", "dvc", "init", "--quiet", cwd=root)
    fill(root / "data" / "demo")
    return root


def pin_and_commit(root: Path) -> DataVersion:
    run(sys.executable, "-m", "dvc", "add", "--quiet", "data", cwd=root)
    run("git", "add", "--all", cwd=root)
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--message", "data", cwd=root)
    version = data_version(root / "data" / "demo")
    assert version is not None
    return version


def clone(root: Path) -> Path:
    """A shallow clone: no cache, no remote of DVC, no data."""
    copy = root.parent / "clone"
    run("git", "clone", "--depth", "1", f"file://{root}", str(copy), cwd=root.parent)
    return copy


def test_a_folder_inside_the_pinned_one_has_its_version(repository: Path):
    pin_and_commit(repository)
    written = yaml.safe_load((repository / "data.dvc").read_text())["outs"][0]
    version = data_version(repository / "data" / "demo" / "train2017")
    assert version is not None
    assert (version.md5, version.size, version.nfiles) == (written["md5"], written["size"], written["nfiles"])
    assert version.path == repository / "data"
    assert version.nfiles == 4
    assert len(version.md5) == 36


def test_a_folder_without_a_pin_has_no_version(repository: Path):
    assert data_version(repository / "data" / "demo") is None
    with pytest.raises(UsageError, match=r"No \.dvc file pins .*data/demo.*--pin"):
        check(repository / "data" / "demo")


def test_a_pin_outside_the_repository_does_not_count(repository: Path):
    (repository.parent / "repository.dvc").write_text("outs: []\n")
    assert data_version(repository / "data") is None


def test_a_broken_pin_is_refused_in_words(repository: Path):
    (repository / "data.dvc").write_text("outs: [")
    with pytest.raises(UsageError, match=r"data\.dvc is not a \.dvc file"):
        check(repository / "data" / "demo")


def test_pin_makes_the_version_that_check_accepts(repository: Path):
    version = pin(repository / "data")
    assert version == data_version(repository / "data" / "demo")
    check(repository / "data" / "demo")
    check(repository / "data")


def test_pin_of_a_folder_inside_a_pinned_one_renews_that_pin(repository: Path):
    before = pin_and_commit(repository)
    (repository / "data" / "demo" / "labels.json").write_text('{"images": []}')
    after = pin(repository / "data" / "demo")
    assert after.pin_file == before.pin_file
    assert after.md5 != before.md5
    check(repository / "data" / "demo")


def test_pin_outside_a_dvc_repository_is_refused(tmp_path: Path):
    fill(tmp_path / "data")
    with pytest.raises(UsageError, match="dvc init"):
        pin(tmp_path / "data")


def test_check_names_what_changed(repository: Path):
    pin_and_commit(repository)
    demo = repository / "data" / "demo"
    (demo / "train2017" / "1.bmp").write_bytes(b"other")
    (demo / "train2017" / "2.bmp").unlink()
    (demo / "more.json").write_text("{}")
    with pytest.raises(UsageError, match=r"1 changed .*1\.bmp.*1 new .*more\.json.*1 missing .*2\.bmp.*--pin"):
        check(demo)


def test_check_misses_a_folder_that_is_not_there(repository: Path):
    pin_and_commit(repository)
    shutil.rmtree(repository / "data" / "demo")
    with pytest.raises(UsageError, match="isn't there"):
        check(repository / "data" / "demo")


def test_check_speaks_only_of_the_folder_asked_for(repository: Path):
    fill(repository / "data" / "coco")
    pin_and_commit(repository)
    (repository / "data" / "coco" / "labels.json").write_text("changed")
    check(repository / "data" / "demo")
    with pytest.raises(UsageError, match=r"1 changed"):
        check(repository / "data" / "coco")


def test_a_fresh_clone_passes_after_the_data_is_made_again(repository: Path):
    pin_and_commit(repository)
    copy = clone(repository)
    with pytest.raises(UsageError, match="isn't there"):
        check(copy / "data" / "demo")
    fill(copy / "data" / "demo")
    check(copy / "data" / "demo")
    fill(copy / "data" / "mine")  # not pinned, not asked for
    check(copy / "data" / "demo")


def test_a_fresh_clone_with_other_content_fails(repository: Path):
    pin_and_commit(repository)
    copy = clone(repository)
    fill(copy / "data" / "demo")
    (copy / "data" / "demo" / "labels.json").write_text("changed")
    with pytest.raises(UsageError, match="the hash of its files"):
        check(copy / "data" / "demo")


def test_a_fresh_clone_of_several_pinned_folders_passes_when_all_are_there(repository: Path):
    fill(repository / "data" / "coco")
    pin_and_commit(repository)
    copy = clone(repository)
    fill(copy / "data" / "demo")
    fill(copy / "data" / "coco")
    check(copy / "data" / "demo")


def test_check_needs_no_git(repository: Path):
    pin_and_commit(repository)
    shutil.rmtree(repository / ".git")
    check(repository / "data" / "demo")


def test_every_form_of_a_pin_has_the_version_that_dvc_gives_the_same_files(repository: Path) -> None:
    version = pin_and_commit(repository)
    folder = repository / "data"
    files = [
        {"relpath": str(path.relative_to(folder)), "md5": hashlib.md5(path.read_bytes()).hexdigest(), "size": 1}
        for path in folder.rglob("*.*")
        if path.is_file()
    ]
    for outs in (
        [{"path": "data", "files": files}],  # of a remote that keeps versions itself
        [{"path": "data", "md5": version.md5}],  # of an early DVC
        [{"path": "data", "md5": version.md5, "hash": "md5", "size": 9, "nfiles": 4, "remote": "store"}],
    ):
        (repository / "data.dvc").write_text(yaml.safe_dump({"outs": outs}))
        found = data_version(folder)
        assert found is not None
        assert found.md5 == version.md5


@pytest.mark.parametrize(
    "content",
    ["", "outs: []", "outs: [{path: data}]", "outs: [{path: data, md5: 0123}]", "outs: [{path: data, files: 3}]"],
)
def test_a_pin_that_is_none_of_a_folder_is_refused(repository: Path, content: str) -> None:
    (repository / "data.dvc").write_text(content)
    with pytest.raises(UsageError, match=r"data.dvc is not a .dvc file of one folder"):
        data_version(repository / "data" / "demo")
