"""One split cut in two."""

import json
from pathlib import Path

import pytest

from tests import tiny_set
from yolab.data import pack
from yolab.data.split import split_data
from yolab.data.verify import verify
from yolab.errors import UsageError


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return tiny_set.write(tmp_path / "whole", {"all": 10})


def test_every_image_goes_with_its_objects_into_one_of_two_splits_the_same_for_the_same_seed(whole, tmp_path):
    described = json.loads((whole / "annotations" / "instances_all.json").read_text())
    counts = split_data(whole, tmp_path / "split", 0.3, seed=1)
    assert {name: images for name, (images, _) in counts.items()} == {"train2017": 7, "val2017": 3}
    assert sum(objects for _, objects in counts.values()) == len(described["annotations"])
    assert verify(tmp_path / "split").ok
    parts = {name: {path.name for path in (tmp_path / "split" / name).iterdir()} for name in counts}
    assert not parts["train2017"] & parts["val2017"]
    assert parts["train2017"] | parts["val2017"] == {image["file_name"] for image in described["images"]}
    for seed, same in ((1, True), (2, False)):
        split_data(whole, tmp_path / f"again-{seed}", 0.3, seed)
        again = {path.name for path in (tmp_path / f"again-{seed}" / "val2017").iterdir()}
        assert (again == parts["val2017"]) is same


def test_what_can_not_be_split_is_refused_and_leaves_nothing(whole, tmp_path):
    two = tiny_set.write(tmp_path / "two", {"train2017": 2, "val2017": 2})
    pack.pack(whole, tmp_path / "packed", 1 << 20)
    broken = tiny_set.write(tmp_path / "broken", {"all": 3})
    next((broken / "all").iterdir()).unlink()
    for root, share, told in (
        (two, 0.5, "has the splits train2017, val2017 already"),
        (whole, 0.01, "leaves a split without any"),
        (tmp_path / "packed", 0.5, "is packed"),
        (broken, 0.5, "has faults"),
        (tmp_path / "none", 0.5, "no such folder"),
    ):
        with pytest.raises(UsageError, match=told):
            split_data(root, tmp_path / "split", share, seed=0)
    assert not (tmp_path / "split").exists()
