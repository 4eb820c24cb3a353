"""Data sets in YOLO's, Pascal VOC's and COCO's layouts become one in COCO layout."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolab.data import coco
from yolab.data.formats import import_data
from yolab.data.verify import verify
from yolab.errors import UsageError

OBJECTS = {"a": [("cat", 10, 5, 20, 10)], "b": [("dog", 0, 0, 40, 30), ("cat", 1, 2, 8, 4)], "c": []}


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))


def yolo(root: Path) -> Path:
    for stem, objects in OBJECTS.items():
        split = "val" if stem == "b" else "train"
        image(root / "images" / split / f"{stem}.jpg")
        lines = [
            f"{['cat', 'dog'].index(n)} {(x + w / 2) / 40} {(y + h / 2) / 30} {w / 40} {h / 30}"
            for n, x, y, w, h in objects
        ]
        labels = root / "labels" / split
        labels.mkdir(parents=True, exist_ok=True)
        if lines:
            (labels / f"{stem}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n")
    return root


def voc(root: Path) -> Path:
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for stem, objects in OBJECTS.items():
        image(root / "JPEGImages" / f"{stem}.jpg")
        described = "".join(
            f"<object><name>{n}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w + 1}</xmax><ymax>{y + h + 1}</ymax></bndbox></object>"
            for n, x, y, w, h in objects
        )
        (root / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{described}</annotation>")
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nc\n")
    (root / "ImageSets" / "Main" / "val.txt").write_text("b\n")
    (root / "ImageSets" / "Main" / "trainval.txt").write_text("a\nb\nc\n")
    return root


def roboflow(root: Path) -> Path:
    for split, stems in {"train": "ac", "valid": "b"}.items():
        images, annotations = [], []
        for number, stem in enumerate(stems):
            image(root / split / f"{stem}.jpg")
            images.append({"id": number, "file_name": f"{stem}.jpg", "width": 40, "height": 30})
            for name, *box in OBJECTS[stem]:
                category = {"cat": 5, "dog": 9}[name]
                annotations.append({"id": len(annotations), "image_id": number, "category_id": category, "bbox": box})
        kinds = [{"id": number, "name": name, "supercategory": "animals"} for number, name in ((5, "cat"), (9, "dog"))]
        categories = [{"id": 0, "name": "animals", "supercategory": "none"}, *kinds]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("layout", [yolo, voc, roboflow])
def test_every_layout_becomes_the_same_sound_data_set(layout, tmp_path):
    written = import_data(layout(tmp_path / "source"), tmp_path / "out")
    assert written.names == ("cat", "dog")
    assert written.splits == {"train2017": (2, 1), "val2017": (1, 2)}
    assert verify(tmp_path / "out").ok
    (a, c), (b,) = (coco.load(tmp_path / "out", split).samples for split in ("train2017", "val2017"))
    np.testing.assert_allclose(a.boxes, [[10, 5, 30, 15]], atol=1e-4)
    np.testing.assert_allclose(b.boxes, [[0, 0, 40, 30], [1, 2, 9, 6]], atol=1e-4)
    assert (a.classes.tolist(), b.classes.tolist(), c.classes.tolist()) == ([0], [1, 0], [])


def spoiled_label(root: Path) -> None:
    (root / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.1 0.1\n")


def spoiled_image(root: Path) -> None:
    (root / "images" / "train" / "a.jpg").write_text("no image")


def spoiled_place(root: Path) -> None:
    shutil.rmtree(root / "images")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(spoiled_label, "a.txt, line 2"), (spoiled_image, "Can't read the image"), (spoiled_place, "There is no")],
)
def test_a_fault_is_named_and_nothing_is_left_behind(spoil, told, tmp_path):
    spoil(yolo(tmp_path / "source"))
    with pytest.raises(UsageError, match=told):
        import_data(tmp_path / "source", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


def test_a_polygon_stays_beside_the_box_around_it_and_a_taken_target_is_refused(tmp_path):
    root = yolo(tmp_path / "source")
    (root / "labels" / "train" / "a.txt").write_text("0 0.25 0.5 0.5 0.2 0.75 0.8\n")
    import_data(root, tmp_path / "out")
    sample = coco.load(tmp_path / "out", "train2017", with_outlines=True).samples[0]
    np.testing.assert_allclose(sample.boxes, [[10, 6, 30, 24]], atol=1e-4)
    np.testing.assert_allclose(sample.outlines.of(0), [[[10, 15], [20, 6], [30, 24]]], atol=1e-4)
    with pytest.raises(UsageError, match="is there already"):
        import_data(root, tmp_path / "out")


def test_what_looks_like_no_layout_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(UsageError, match="Can't tell the layout"):
        import_data(tmp_path / "source", tmp_path / "out")
