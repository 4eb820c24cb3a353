import pickle
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch

from tests.data.conftest import Tiny
from yolab.data import coco
from yolab.data.annotations import split_names
from yolab.data.digest import content_digest
from yolab.data.images import ImageFolder
from yolab.data.loader import training_loader
from yolab.data.pack import pack, write_shards
from yolab.data.verify import verify
from yolab.errors import UsageError
from yolab.experiment import Compute, build


@pytest.fixture
def packed(tiny: Tiny, tmp_path: Path) -> Path:
    target = tmp_path / "packed"
    pack(tiny.root, target, shard_bytes=1)  # one image a shard
    return target


def test_a_packed_data_set_has_the_same_content_and_no_image_files(tiny, packed):
    assert content_digest(packed, ["train", "val"]) == content_digest(tiny.root, ["train", "val"])
    assert {path.suffix for path in packed.rglob("*") if path.is_file()} == {".json", ".arrow"}
    assert len(list((packed / "train").iterdir())) == 2


def test_what_is_learned_from_is_the_same_to_the_bit(tiny, packed):
    def batches(root: Path) -> list[torch.Tensor]:
        data = build({"name": "x", "data": {"path": str(root), "image_size": 64}}, {}, "test").data
        loader, _ = training_loader(coco.load(root, "train"), data, 3, 2, 0, Compute(loader_processes=1))
        return [tensor for images, targets in loader for tensor in (images, targets.boxes)]

    for ours, theirs in zip(batches(packed), batches(tiny.root), strict=True):
        assert torch.equal(ours, theirs)


def test_images_that_are_described_alone_are_packed_verified_and_covered_by_the_digest(tiny, tmp_path):
    (tiny.root / "annotations" / "instances_val.json").rename(tiny.root / "annotations" / "image_info_val.json")
    (tiny.root / "annotations" / "image_info_elsewhere.json").write_text('{"images": [], "categories": []}')
    assert split_names(tiny.root) == ["train", "val"]
    assert list(pack(tiny.root, tmp_path / "packed")) == ["train", "val"]
    (tiny.folder("val") / "a.jpg").write_bytes(b"no picture")
    assert list(verify(tiny.root).faults) == ["undecodable_image"]


def test_verification_decodes_what_is_packed(tiny, packed, tmp_path):
    assert verify(packed).ok
    content = (tiny.folder("train") / "a.jpg").read_bytes()
    (tiny.folder("train") / "a.jpg").write_bytes(content[: len(content) // 2])
    pack(tiny.root, tmp_path / "again")
    assert list(verify(tmp_path / "again").faults) == ["undecodable_image"]


def test_a_lost_shard_is_told_as_missing_images(packed):
    (packed / "train" / "00001.arrow").unlink()
    assert list(verify(packed).faults) == ["missing_image"]


def test_a_shard_that_breaks_off_is_refused(packed):
    shard = packed / "train" / "00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-200])
    with pytest.raises(UsageError, match=r"00001\.arrow is no whole shard"):
        coco.load(packed, "train")


def test_a_missing_image_is_refused_before_anything_is_written(tiny, tmp_path):
    (tiny.folder("train") / "a.jpg").unlink()
    with pytest.raises(UsageError, match=r"missing_image: 1[\s\S]*before it is packed"):
        pack(tiny.root, tmp_path / "packed")
    assert not list(tmp_path.glob("packed*"))


def test_an_interrupted_packing_leaves_nothing(tiny, tmp_path):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(tiny.root, tmp_path / "packed", progress=interrupt)
    assert not list(tmp_path.glob("packed*"))


def test_shards_hold_about_as_much_as_they_are_told(tmp_path):
    images = [(f"{number}.jpg", bytes([number]) * 100) for number in range(10)]
    assert write_shards(iter(images), tmp_path / "split", shard_bytes=250) == 4
    folder = ImageFolder(tmp_path / "split")
    assert all(folder.read(name).tobytes() == content for name, content in images)
    with pyarrow.ipc.open_file(str(tmp_path / "split" / "00004.arrow")) as file:
        assert file.read_all().column("file_name").to_pylist() == ["9.jpg"]


def test_a_folder_of_images_goes_to_another_process_without_them(packed):
    folder = ImageFolder(packed / "train")
    before = folder.read("a.jpg")
    travelled = pickle.dumps(folder)
    assert len(travelled) < 1000
    np.testing.assert_array_equal(pickle.loads(travelled).read("a.jpg"), before)
