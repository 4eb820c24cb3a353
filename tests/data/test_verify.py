import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.conftest import Tiny
from yolab.data import coco
from yolab.data import verify as verification
from yolab.data.verify import verify


def spoil_annotation(**changes: object) -> Callable[[Tiny], None]:
    return lambda tiny: tiny.content["train"]["annotations"][0].update(changes)


def spoil_image(**changes: object) -> Callable[[Tiny], None]:
    return lambda tiny: tiny.content["train"]["images"][1].update(changes)


def repeat(records: str) -> Callable[[Tiny], None]:
    return lambda tiny: tiny.content["train"][records].append(dict(tiny.content["train"][records][0]))


def change_file(name: str, change: Callable[[bytes], bytes]) -> Callable[[Tiny], None]:
    def spoil(tiny: Tiny) -> None:
        path = tiny.folder("train") / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


FAULTS = {
    "missing": ("missing_image", spoil_image(file_name="c.jpg")),
    "missing, no possible name": ("missing_image", spoil_image(file_name="\0" + "c" * 300)),
    "folder for a file": ("undecodable_image", spoil_image(file_name=".")),
    "empty file": ("undecodable_image", change_file("a.jpg", lambda _: b"")),
    "no image": ("undecodable_image", change_file("a.jpg", lambda _: b"<html>404</html>")),
    "JPEG cut in the middle": ("undecodable_image", change_file("a.jpg", lambda image: image[: len(image) // 2])),
    "JPEG without its last byte": ("undecodable_image", change_file("a.jpg", lambda image: image[:-1])),
    "JPEG that ends in zeros": ("undecodable_image", change_file("a.jpg", lambda image: image[:-400] + bytes(400))),
    "PNG cut": ("undecodable_image", change_file("b.png", lambda image: image[:-10])),
    "PNG with a wrong byte": ("undecodable_image", change_file("b.png", lambda i: i[:900] + b"\0\0\0\0" + i[904:])),
    "image of another size": ("image_size", spoil_image(width=41)),
    "file outside": ("leaves_folder", spoil_image(file_name="../val/a.jpg")),
    "file anywhere": ("leaves_folder", spoil_image(file_name="/etc/hostname")),
    "image without a width": ("malformed_image", spoil_image(width=None)),
    "image of an impossible size": ("malformed_image", spoil_image(width=10**400)),
    "image twice": ("duplicate_image_id", repeat("images")),
    "annotation twice": ("duplicate_annotation_id", repeat("annotations")),
    "category twice": ("duplicate_category_id", repeat("categories")),
    "two categories of one name": (
        "duplicate_category_name",
        lambda tiny: tiny.content["train"]["categories"].append({"id": 9, "name": "cat"}),
    ),
    "category without a name": (
        "malformed_category",
        lambda tiny: tiny.content["train"]["categories"].append({"id": 1}),
    ),
    "annotation that is none": ("malformed_annotation", lambda tiny: tiny.content["train"]["annotations"].append(7)),
    "id that is a text": ("malformed_annotation", spoil_annotation(image_id="10")),
    "crowd that is neither": ("malformed_annotation", spoil_annotation(iscrowd=2)),
    "area that is a text": ("malformed_annotation", spoil_annotation(area="12")),
    "annotation of no image": ("unknown_image", spoil_annotation(image_id=11)),
    "annotation of no category": ("unknown_category", spoil_annotation(category_id=1)),
    "no box": ("malformed_box", spoil_annotation(bbox=None)),
    "three numbers": ("malformed_box", spoil_annotation(bbox=[1, 2, 3])),
    "a text in the box": ("malformed_box", spoil_annotation(bbox=[1, 2, 3, "4"])),
    "not a number": ("malformed_box", spoil_annotation(bbox=[1, 2, float("nan"), 4])),
    "infinite": ("malformed_box", spoil_annotation(bbox=[1, 2, float("inf"), 4])),
    "beyond a float": ("malformed_box", spoil_annotation(bbox=[1, 2, 10**400, 4])),
    "no width": ("empty_box", spoil_annotation(bbox=[1, 2, 0, 4])),
    "negative height": ("empty_box", spoil_annotation(bbox=[1, 2, 3, -4])),
    "within the tolerated border only": ("empty_box", spoil_annotation(bbox=[40.25, 2, 0.5, 4])),
    "outside": ("box_outside", spoil_annotation(bbox=[30, 2, 11.5, 4])),
    "outside above": ("box_outside", spoil_annotation(bbox=[30, -2, 5, 4])),
}


@pytest.mark.parametrize(("kind", "spoil"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found_once_and_told_with_its_split(tiny: Tiny, kind: str, spoil: Callable[[Tiny], None]) -> None:
    spoil(tiny)
    tiny.write()
    report = verify(tiny.root)
    assert {found: fault.count for found, fault in report.faults.items()} == {kind: 1}
    (case,) = report.faults[kind].cases
    assert case.startswith("train: ")
    assert case in report.summary()
    assert not report.ok


def test_a_sound_data_set_has_no_faults_in_any_split(tiny: Tiny) -> None:
    report = verify(tiny.root)
    assert report.ok
    assert (report.images, report.annotations) == (4, 6)
    assert report.summary() == f"{tiny.root}: no faults in 4 images with 6 annotations."


def test_a_case_names_split_id_and_file(tiny: Tiny) -> None:
    spoil_annotation(bbox=[30, 2, 11.5, 4])(tiny)
    tiny.write()
    (case,) = verify(tiny.root).faults["box_outside"].cases
    assert case == "train: annotation 3 ('a.jpg') has the box [30, 2, 11.5, 4], 1.5 px beyond the image of 40x30"


def test_all_faults_are_counted_and_the_first_five_told(tiny: Tiny) -> None:
    box = tiny.content["val"]["annotations"][0] | {"bbox": [0, 0, 0, 0]}
    tiny.content["val"]["annotations"] = [box | {"id": number} for number in range(8)]
    tiny.write()
    report = verify(tiny.root)
    assert (report.faults["empty_box"].count, len(report.faults["empty_box"].cases)) == (8, 5)
    assert "and 3 more" in report.summary()


def test_the_report_as_json_holds_counts_and_cases(tiny: Tiny) -> None:
    (tiny.folder("val") / "b.png").unlink()
    told = json.loads(json.dumps(verify(tiny.root).to_json()))
    assert (told["ok"], told["images"], told["annotations"]) == (False, 4, 6)
    assert told["faults"] == {
        "missing_image": {"count": 1, "cases": ["val: image 20 ('b.png') has no file in the folder val"]}
    }


def test_only_the_named_splits_are_checked(tiny: Tiny) -> None:
    (tiny.folder("val") / "b.png").unlink()
    assert verify(tiny.root, ["train"]).ok


def test_a_jpeg_may_hold_a_preview_and_may_be_followed_by_other_bytes(tiny: Tiny) -> None:
    image = (tiny.folder("train") / "a.jpg").read_bytes()
    preview = b"\xff\xe1" + (2 + len(image)).to_bytes(2, "big") + image
    (tiny.folder("train") / "a.jpg").write_bytes(image[:2] + preview + image[2:] + b"trailer \xff\xda of a phone")
    assert verify(tiny.root).ok
    (tiny.folder("train") / "a.jpg").write_bytes(image[:2] + preview + image[2:-50])
    assert set(verify(tiny.root).faults) == {"undecodable_image"}


def test_an_image_is_measured_as_stored_whatever_rotation_its_camera_noted(tiny: Tiny) -> None:
    image = (tiny.folder("train") / "a.jpg").read_bytes()
    turned = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # TIFF: orientation 6, by a quarter
    exif = b"\xff\xe1" + (8 + len(turned)).to_bytes(2, "big") + b"Exif\0\0" + turned
    (tiny.folder("train") / "a.jpg").write_bytes(image[:2] + exif + image[2:])
    turned_pixels = cv2.imread(str(tiny.folder("train") / "a.jpg"))
    assert turned_pixels is not None
    assert turned_pixels.shape == (40, 30, 3)
    assert verify(tiny.root).ok


def test_other_formats_and_depths_are_decoded(tiny: Tiny) -> None:
    grey = np.zeros((30, 40), np.uint16)
    for name in ("c.bmp", "d.webp", "e.png"):
        assert cv2.imwrite(str(tiny.folder("train") / name), grey if name == "e.png" else grey.astype(np.uint8))
        tiny.content["train"]["images"].append({"id": ord(name[0]), "file_name": name, "width": 40, "height": 30})
    tiny.write()
    assert verify(tiny.root).ok


def test_progress_counts_every_image(tiny: Tiny) -> None:
    calls: list[tuple[int, int]] = []
    verify(tiny.root, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_verified_data_set_is_not_decoded_again_until_a_file_changes(
    tiny: Tiny, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = verification._decode
    monkeypatch.setattr(verification, "_decode", lambda image: decoded.append(image.described["id"]) or decode(image))
    first = verify(tiny.root)
    assert len(decoded) == 4
    assert verify(tiny.root) == first
    assert len(decoded) == 4
    change_file("a.jpg", lambda image: image[:-100] + bytes(100))(tiny)
    assert set(verify(tiny.root).faults) == {"undecodable_image"}
    assert len(decoded) == 6, "only the split that changed is decoded again"
    assert set(verify(tiny.root).faults) == {"undecodable_image"}
    assert len(decoded) == 6


def test_what_was_only_just_written_is_not_trusted_to_the_clock(tiny: Tiny, cache_home: Path) -> None:
    verify(tiny.root)
    assert not list(cache_home.rglob("*.json"))


def test_a_cache_that_is_spoiled_or_cannot_be_written_costs_time_only(
    tiny: Tiny, settled: None, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify(tiny.root)
    for file in cache_home.rglob("*.json"):
        file.write_text("[")
    assert verify(tiny.root).ok
    (cache_home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home / "file"))
    assert verify(tiny.root).ok


def test_real_data_has_no_faults(bccd: Path | None) -> None:
    if bccd is None:
        return
    report = verify(bccd)
    assert report.ok
    assert (report.images, report.annotations) == (364, 4886)


def test_a_crowd_and_an_area_of_null_are_none(tiny: Tiny) -> None:
    spoil_annotation(iscrowd=None, area=None)(tiny)
    tiny.write()
    assert verify(tiny.root).ok
    truth = {each["id"]: each for each in coco.load(tiny.root, "train").truth}
    assert (truth[3]["iscrowd"], truth[3]["area"]) == (0, 200)


def test_annotations_without_a_folder_of_images_are_no_split_but_named(tiny: Tiny) -> None:
    shutil.copy(tiny.root / "annotations" / "instances_val.json", tiny.root / "annotations" / "instances_old.json")
    report = verify(tiny.root)
    assert (report.ok, report.images, report.unchecked) == (True, 4, ("old",))
    assert "instances_old.json was not checked: there is no folder old" in report.summary()
