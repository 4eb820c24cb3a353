import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.conftest import Tiny
from yolab.data import coco
from yolab.errors import UsageError


def test_a_split_is_read_sorted_by_id_with_boxes_as_corners_and_without_crowds(tiny: Tiny) -> None:
    dataset = coco.load(tiny.root, "train")
    first, second = dataset.samples
    assert (first.image_id, first.path, first.width, first.height) == (10, tiny.folder("train") / "a.jpg", 40, 30)
    np.testing.assert_array_equal(first.boxes, [[5.5, 5, 35.5, 15], [1, 2, 11, 22]])
    assert first.classes.tolist() == [0, 1]
    assert (first.boxes.dtype, first.classes.dtype) == (np.float32, np.int64)
    assert (second.boxes.shape, second.classes.shape) == ((0, 4), (0,))
    assert (dataset.category_ids, dataset.names, dataset.skipped) == ((2, 7), ("dog", "cat"), {})


def test_the_order_of_the_json_does_not_matter(tiny: Tiny) -> None:
    before = coco.load(tiny.root, "train")
    for records in tiny.content["train"].values():
        records.reverse()
    tiny.write()
    after = coco.load(tiny.root, "train")
    assert [sample.path for sample in after.samples] == [sample.path for sample in before.samples]
    np.testing.assert_array_equal(after.samples[0].boxes, before.samples[0].boxes)


def test_paths_are_absolute_also_for_a_relative_root(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.root.parent)
    dataset = coco.load(Path("tiny"), "train")
    monkeypatch.chdir("/")
    assert all(sample.path.is_absolute() and sample.path.is_file() for sample in dataset.samples)


def test_a_box_that_overhangs_by_up_to_a_pixel_is_clipped(tiny: Tiny) -> None:
    tiny.content["train"]["annotations"][0]["bbox"] = [-1, 2, 41.5, 28.25]
    tiny.write()
    np.testing.assert_array_equal(coco.load(tiny.root, "train").samples[0].boxes[1], [0, 2, 40, 30])


def test_any_fault_is_refused_with_all_faults_and_what_to_do(tiny: Tiny) -> None:
    (tiny.folder("train") / "a.jpg").unlink()
    tiny.content["train"]["annotations"][2]["category_id"] = 5
    tiny.write()
    with pytest.raises(UsageError) as refused:
        coco.load(tiny.root, "train")
    for told in ("missing_image: 1", "train: image 10 ('a.jpg')", "unknown_category: 1", "on_error=skip"):
        assert told in str(refused.value)


def test_skip_drops_a_faulty_annotation_alone_and_counts_it(tiny: Tiny) -> None:
    tiny.content["train"]["annotations"][0]["bbox"] = [1, 2, 0, 20]
    tiny.write()
    dataset = coco.load(tiny.root, "train", on_error="skip")
    assert [len(sample.boxes) for sample in dataset.samples] == [1, 0]
    assert dataset.skipped == {"empty_box": 1}


def test_skip_drops_a_truncated_image_with_its_annotations_and_counts_it(tiny: Tiny) -> None:
    image = tiny.folder("train") / "a.jpg"
    image.write_bytes(image.read_bytes()[:-100])
    dataset = coco.load(tiny.root, "train", on_error="skip")
    assert [sample.image_id for sample in dataset.samples] == [20]
    assert dataset.skipped == {"undecodable_image": 1}


def test_skip_keeps_the_first_of_two_with_the_same_id(tiny: Tiny) -> None:
    content = tiny.content["train"]
    content["images"].append(content["images"][1] | {"file_name": "b.png"})
    content["annotations"].append(content["annotations"][0] | {"bbox": [0, 0, 1, 1]})
    content["categories"].append({"id": 7, "name": "bird"})
    tiny.write()
    dataset = coco.load(tiny.root, "train", on_error="skip")
    assert [(sample.path.name, len(sample.boxes)) for sample in dataset.samples] == [("a.jpg", 2), ("b.png", 0)]
    assert dataset.names == ("dog", "cat")
    assert dataset.skipped == {"duplicate_image_id": 1, "duplicate_annotation_id": 1, "duplicate_category_id": 1}


def test_skip_that_leaves_nothing_is_refused(tiny: Tiny) -> None:
    for image in tiny.folder("train").iterdir():
        image.write_bytes(b"no image")
    with pytest.raises(UsageError, match="no sound images"):
        coco.load(tiny.root, "train", on_error="skip")


def test_a_missing_split_names_those_that_are_there(tiny: Tiny) -> None:
    with pytest.raises(UsageError, match=r"no split 'test'.*train, val"):
        coco.load(tiny.root, "test")


def test_a_missing_data_set_or_folder_of_images_is_named(tiny: Tiny) -> None:
    shutil.rmtree(tiny.folder("val"))
    with pytest.raises(UsageError, match="no images: put them into"):
        coco.load(tiny.root, "val")
    shutil.rmtree(tiny.root / "annotations")
    with pytest.raises(UsageError, match="COCO layout"):
        coco.load(tiny.root, "val")
    with pytest.raises(UsageError, match="no such folder"):
        coco.load(tiny.root / "elsewhere", "val")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not valid JSON"),
        ("\xff", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "must hold a mapping with the lists"),
        ('{"images": [], "annotations": {}, "categories": []}', "must hold a mapping with the lists"),
        ('{"images": [], "annotations": [], "categories": []}', "describes no sound categories"),
    ],
)
def test_annotations_that_cannot_be_meant_are_refused_in_a_sentence(tiny: Tiny, text: str, told: str) -> None:
    (tiny.root / "annotations/instances_train.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=told):
        coco.load(tiny.root, "train")


def test_nothing_is_written_into_the_data_folder(tiny: Tiny, settled: None) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in tiny.root.rglob("*"))
    coco.load(tiny.root, "train", on_error="skip")
    assert sorted((path, path.stat().st_mtime_ns) for path in tiny.root.rglob("*")) == before


def test_real_data_is_read_through_a_relative_path(bccd: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if bccd is None:
        return
    monkeypatch.chdir(Path(__file__).parent)
    dataset = coco.load(Path(os.path.relpath(bccd)), "val2017")
    assert (len(dataset.samples), dataset.names) == (72, ("RBC", "WBC", "Platelets"))
    assert sum(len(sample.boxes) for sample in dataset.samples) == 945
