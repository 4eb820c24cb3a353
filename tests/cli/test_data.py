import json
import shutil
from pathlib import Path

import cv2
import pytest
import yaml

from tests import tiny_set
from tests.cli.conftest import Yolab
from yolab.experiment import build


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from yolab.data.demo import draw

    folder = tmp_path_factory.mktemp("drawn") / "demo"
    draw(folder)
    return folder


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository with a small data set of one image in `set`."""
    import cv2
    import numpy as np

    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    root = tmp_path / "set"
    (root / "annotations").mkdir(parents=True)
    (root / "train").mkdir()
    cv2.imwrite(str(root / "train" / "a.png"), np.zeros((30, 40, 3), np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 200, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return root


def test_a_whole_demo_set_is_left_as_it_is(yolab: Yolab, drawn: Path) -> None:
    before = drawn.stat().st_mtime_ns
    answer = yolab("data", "demo", drawn)
    assert (answer.code, answer.out) == (0, "")
    assert "already" in answer.err
    assert drawn.stat().st_mtime_ns == before


def test_a_demo_set_that_is_not_whole_or_another_folder_is_refused(yolab: Yolab, drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("precious")
    assert yolab("data", "demo", tmp_path / "set").code == 2

    torn = tmp_path / "torn"  # its images are missing
    shutil.copytree(drawn / "annotations", torn / "annotations")
    answer = yolab("data", "demo", torn)
    assert answer.code == 2
    assert "remove it" in answer.err


def test_demo_draws_where_nothing_is(yolab: Yolab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(folder: Path, progress: object) -> None:
        folder.mkdir(parents=True)

    monkeypatch.setattr("yolab.data.demo.draw", draw)  # the real one takes seconds, and has tests of its own
    monkeypatch.chdir(tmp_path)
    assert yolab("data", "demo").code == 0
    assert (tmp_path / "data" / "demo").is_dir()


def test_verify_says_what_is_there_and_what_is_wrong_with_it(yolab: Yolab, repository: Path) -> None:
    sound = yolab("data", "verify", repository)
    assert (sound.code, sound.err) == (0, "")
    assert "no faults in 1 images with 1 annotations" in sound.out

    (repository / "train" / "a.png").write_bytes(b"not a picture")
    faulty = yolab("data", "verify", repository)
    assert faulty.code == 2
    assert "undecodable_image: 1" in faulty.out
    answer = yolab("data", "verify", repository, "--json")
    assert (answer.code, answer.json()["ok"]) == (2, False)
    assert answer.json()["faults"]["undecodable_image"]["count"] == 1


def test_a_folder_that_is_no_data_set_is_wrong_usage(yolab: Yolab, tmp_path: Path) -> None:
    assert yolab("data", "verify", tmp_path).code == 2
    assert yolab("data", "version", tmp_path / "nowhere").code == 2


def test_a_version_can_be_pinned_shown_and_checked(yolab: Yolab, repository: Path) -> None:
    unpinned = yolab("data", "version", repository, "--json").json()
    assert unpinned["md5"] is None
    assert len(unpinned["content_digest"]) == 32
    assert yolab("data", "version", repository, "--check").code == 2

    pinned = yolab("data", "version", repository, "--pin", "--json").json()
    assert pinned["md5"].endswith(".dir")
    assert (pinned["nfiles"], pinned["content_digest"]) == (2, unpinned["content_digest"])
    assert Path(pinned["pin_file"]) == repository.parent / "set.dvc"
    assert yolab("data", "version", repository, "--check").code == 0

    (repository / "train" / "b.png").write_bytes(b"new")
    changed = yolab("data", "version", repository, "--check")
    assert changed.code == 2
    assert "1 new (such as train/b.png)" in changed.err


def test_a_folder_that_only_holds_data_sets_has_a_pin_but_no_content_digest(yolab: Yolab, repository: Path) -> None:
    above = repository.parent / "all"
    above.mkdir()
    repository.rename(above / "set")
    described = yolab("data", "version", above, "--pin", "--json").json()
    assert described["nfiles"] == 2
    assert described["content_digest"] is None


def test_show_saves_a_sheet_of_augmented_images(yolab, tmp_path):
    root = tiny_set.write(tmp_path / "set", {"train2017": 6, "val2017": 2})
    described = build({}, tiny_set.experiment(root), "test").model_dump()
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(described))
    answer = yolab("data", "show", tmp_path / "tiny.yaml", "--most", "5", "--output", tmp_path / "out" / "sheet.png")
    assert answer.code == 0, answer.err
    assert cv2.imread(str(tmp_path / "out" / "sheet.png")).shape == (2 * 480, 4 * 480, 3)
    odd = yolab("data", "show", tmp_path / "tiny.yaml", "--output", tmp_path / "new" / "sheet.txt")
    assert (odd.code, "must end in .jpg" in odd.err, (tmp_path / "new").exists()) == (2, True, False)


def test_import_says_what_it_wrote_and_refuses_what_it_can_not_read(yolab, tmp_path):
    root = tiny_set.write(tmp_path / "set", {"train2017": 3, "val2017": 2})
    answer = yolab("data", "import", root, tmp_path / "new", "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["splits"]["train2017"] == {"images": 3, "objects": 6}
    assert answer.json()["notes"] == []
    again = yolab("data", "import", root, tmp_path / "new")
    assert (again.code, "is there already" in again.err) == (2, True)
    odd = yolab("data", "import", root, tmp_path / "other", "--format", "pickle")
    assert (odd.code, "take one of yolo, voc, cvat, labelme, coco" in odd.err) == (2, True)


def test_pack_writes_shards_and_refuses_a_used_folder(yolab, tmp_path):
    root = tiny_set.write(tmp_path / "set", {"train2017": 3, "val2017": 2})
    answer = yolab("data", "pack", root, tmp_path / "packed", "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["splits"]["train2017"] == {"images": 3, "shards": 1}
    again = yolab("data", "pack", root, tmp_path / "packed")
    assert (again.code, "is there already" in again.err) == (2, True)
