import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.conftest import Tiny
from yolab.data.digest import content_digest

SPLITS = ["train", "val"]
Content = dict[str, Any]


def reverse(content: Content) -> None:
    for records in content.values():
        records.reverse()


def renumber(content: Content) -> None:
    for image in content["images"]:
        image["id"] += 5
    for annotation in content["annotations"]:
        annotation["id"] *= 2
        annotation["image_id"] += 5


def write_floats(content: Content) -> None:
    for annotation in content["annotations"]:
        annotation["bbox"] = [float(side) for side in annotation["bbox"]]


def leave_out_what_is_implied(content: Content) -> None:
    for annotation in content["annotations"]:
        if annotation["area"] == annotation["bbox"][2] * annotation["bbox"][3]:
            del annotation["area"]
        if not annotation["iscrowd"]:
            del annotation["iscrowd"]


def add_remarks(content: Content) -> None:
    content["info"] = {"description": "no content"}
    content["annotations"][0]["segmentation"] = []


@pytest.mark.parametrize("change", [reverse, renumber, write_floats, leave_out_what_is_implied, add_remarks])
def test_another_way_to_write_the_same_content_keeps_the_digest(tiny: Tiny, change: Callable[[Content], None]) -> None:
    before = content_digest(tiny.root, SPLITS)
    change(tiny.content["train"])
    tiny.write()
    assert content_digest(tiny.root, SPLITS) == before


@pytest.mark.parametrize(
    ("records", "key", "value"),
    [
        ("annotations", "bbox", [1, 2, 10, 20.5]),
        ("annotations", "category_id", 2),
        ("annotations", "iscrowd", 1),
        ("annotations", "area", 149),
        ("annotations", "segmentation", [[1, 2, 11, 2, 11, 22]]),
        ("annotations", "image_id", 20),
        ("annotations", "id", 0),
        ("categories", "name", "bird"),
        ("images", "id", 5),
        ("images", "file_name", "a.jpg"),
    ],
)
def test_other_content_has_another_digest(tiny: Tiny, records: str, key: str, value: object) -> None:
    before = content_digest(tiny.root, SPLITS)
    tiny.content["train"][records][0][key] = value
    tiny.write()
    assert content_digest(tiny.root, SPLITS) != before


def test_the_digest_covers_the_bytes_of_the_images(tiny: Tiny) -> None:
    before = content_digest(tiny.root, SPLITS)
    image = tiny.folder("val") / "b.png"
    image.write_bytes(image.read_bytes() + b"\0")
    assert content_digest(tiny.root, SPLITS) != before


def test_the_digest_does_not_cover_names_and_places(tiny: Tiny, tmp_path: Path) -> None:
    before = content_digest(tiny.root, SPLITS)
    (tiny.folder("train") / "a.jpg").rename(tiny.folder("train") / "renamed.jpg")
    tiny.content["train"]["images"][1]["file_name"] = "renamed.jpg"
    tiny.write()
    moved = tiny.root.rename(tmp_path / "moved")
    (moved / "train").rename(moved / "train2017")
    (moved / "annotations/instances_train.json").rename(moved / "annotations/instances_train2017.json")
    assert content_digest(moved, ["train2017", "val"]) == before


def test_training_and_validation_are_not_interchangeable(tiny: Tiny) -> None:
    assert content_digest(tiny.root, SPLITS) != content_digest(tiny.root, SPLITS[::-1])


def test_faulty_data_has_a_digest_too_which_its_repair_changes(tiny: Tiny) -> None:
    (tiny.folder("val") / "b.png").rename(tiny.root / "kept")
    tiny.content["train"]["annotations"] += [7, {"id": "x", "bbox": [10**400, None], "image_id": 10}, {"image_id": 99}]
    tiny.write()
    faulty = content_digest(tiny.root, SPLITS)
    assert len(faulty) == 32
    (tiny.root / "kept").rename(tiny.folder("val") / "b.png")
    assert content_digest(tiny.root, SPLITS) != faulty


def test_a_remembered_digest_follows_every_change(tiny: Tiny, settled: None, cache_home: Path) -> None:
    before = content_digest(tiny.root, SPLITS)
    assert len(list(cache_home.rglob("digest-*.json"))) == 2
    assert content_digest(tiny.root, SPLITS) == before
    image = tiny.folder("train") / "b.png"
    image.write_bytes(image.read_bytes()[:-1] + b"\0")
    assert content_digest(tiny.root, SPLITS) != before


def test_the_digest_of_real_data_takes_less_than_a_second(bccd: Path | None) -> None:
    if bccd is None:
        return
    start = time.perf_counter()
    digest = content_digest(bccd, ["train2017", "val2017"])
    assert time.perf_counter() - start < 1
    assert content_digest(bccd, ["train2017", "val2017"]) == digest
