import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolab.data import demo
from yolab.data.demo_scene import COLOURS, OBJECTS
from yolab.errors import UsageError

DIGEST = "cd2cbcf3ce911a2cfebb7c9e11db4c464ec70de9b2944f465fa883325546ff1e"
SPLITS = ("train2017", "val2017")


def digest_of(root: Path) -> str:
    """sha256 over the sorted relative paths and the bytes of every file."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
        if path.is_file():
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "demo"
    demo.draw(root)
    return root


def labels(root: Path, split: str) -> dict[str, Any]:
    return json.loads((root / "annotations" / f"instances_{split}.json").read_text())


def per_image(root: Path, split: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    content = labels(root, split)
    for image in content["images"]:
        yield image, [a for a in content["annotations"] if a["image_id"] == image["id"]]


def both(root: Path) -> list[dict[str, Any]]:
    return [annotation for split in SPLITS for annotation in labels(root, split)["annotations"]]


def overlap(a: list[int], b: list[int]) -> float:
    """IoU of two boxes (x, y, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def test_the_set_is_the_frozen_one(demo_set: Path):
    assert digest_of(demo_set) == DIGEST


def test_another_process_with_another_hash_seed_draws_the_same_bytes(demo_set: Path, tmp_path: Path):
    code = "import sys; from pathlib import Path; from yolab.data.demo import draw; draw(Path(sys.argv[1]))"
    again = tmp_path / "deeper" / "demo"
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", code, str(again)], check=True, env=environment)
    assert digest_of(again) == digest_of(demo_set)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="is there already"):
        demo.draw(tmp_path / "demo")
    assert [path.name for path in tmp_path.rglob("*")] == ["demo", "mine.txt"]


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path):
    def interrupt(done: int, total: int) -> None:
        assert total == sum(demo.IMAGES.values())
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.draw(tmp_path / "demo", interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", SPLITS)
def test_the_layout_is_cocos_and_every_image_is_readable(demo_set: Path, split: str):
    content = labels(demo_set, split)
    assert [category["name"] for category in content["categories"]] == list(demo.CLASSES)
    assert len(content["images"]) == demo.IMAGES[split] == len(list((demo_set / split).iterdir()))
    assert [a["id"] for a in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
    for image in content["images"]:
        pixels = cv2.imread(str(demo_set / split / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3)


def test_there_are_enough_images_classes_and_objects(demo_set: Path):
    assert len(demo.CLASSES) >= 4
    assert demo.IMAGES["train2017"] >= 200
    assert demo.IMAGES["val2017"] >= 60
    for split in SPLITS:
        counts = [len(annotations) for _, annotations in per_image(demo_set, split)]
        assert OBJECTS[0] <= min(counts) <= max(counts) <= OBJECTS[1]
        classes = Counter(a["category_id"] for a in labels(demo_set, split)["annotations"])
        assert min(classes.values()) * 2 > max(classes.values())
    megabytes = sum(path.stat().st_size for path in demo_set.rglob("*") if path.is_file()) / 1e6
    assert 5 < megabytes < 30


def test_boxes_lie_inside_their_images_and_are_legible(demo_set: Path):
    for split in SPLITS:
        for image, annotations in per_image(demo_set, split):
            for annotation in annotations:
                x, y, width, height = annotation["bbox"]
                assert x >= 0
                assert y >= 0
                assert x + width <= image["width"]
                assert y + height <= image["height"]
                assert annotation["area"] == width * height
                assert min(width, height) >= 12


@pytest.mark.parametrize("split", SPLITS)
def test_all_three_sizes_of_coco_occur(demo_set: Path, split: str):
    areas = np.array([a["area"] for a in labels(demo_set, split)["annotations"]])
    small, large = (areas < 32**2).mean(), (areas > 96**2).mean()
    assert 0.2 < small < 0.4
    assert 0.08 < large < 0.2


def test_objects_overlap_in_many_images_but_never_hide_one_another(demo_set: Path):
    pairs = [
        [overlap(a["bbox"], b["bbox"]) for a, b in combinations(annotations, 2)]
        for _, annotations in per_image(demo_set, "train2017")
    ]
    assert np.mean([max(ious) > 0.02 for ious in pairs]) > 0.4
    assert max(map(max, pairs)) < 0.8


def test_light_varies_between_and_within_images(demo_set: Path):
    means, ranges = [], []
    for path in sorted((demo_set / "train2017").iterdir()):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        corners = cv2.resize(grey, (2, 2), interpolation=cv2.INTER_AREA).astype(int)
        means.append(grey.mean())
        ranges.append(corners.max() - corners.min())
    assert np.std(means) > 15
    assert np.mean(ranges) > 20


def test_colour_says_nothing_about_the_class(demo_set: Path):
    table = np.zeros((len(demo.CLASSES), len(COLOURS)))
    for annotation in both(demo_set):
        table[annotation["category_id"] - 1, annotation["colour"]] += 1
    assert table.min() >= 5
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    assert statistic < 48.3  # chi squared with 28 degrees of freedom exceeds this in one case of a hundred


# The baseline: threshold colours, box the blobs, guess the class from the colour. It must stay bad.


def hue_masks(pixels: np.ndarray) -> list[np.ndarray]:
    """Pixels of one hue each, where saturated enough to have one, and those that are bright and colourless."""
    hue, saturation, value = cv2.split(cv2.cvtColor(cv2.medianBlur(pixels, 5), cv2.COLOR_BGR2HSV))
    coloured = (saturation > 90) & (value > 40)
    edges = (0, 8, 18, 32, 75, 100, 130, 165, 181)
    masks = [coloured & (hue >= low) & (hue < high) for low, high in pairwise(edges)]
    masks[0] |= masks.pop()  # red lies at both ends
    return [*masks, (saturation < 60) & (value > 120)]


def saturation_masks(pixels: np.ndarray) -> list[np.ndarray]:
    """Pixels more saturated than Otsu's threshold, and those less."""
    saturation = cv2.cvtColor(cv2.medianBlur(pixels, 5), cv2.COLOR_BGR2HSV)[:, :, 1]
    _, high = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return [high > 0, high == 0]


def cluster_masks(pixels: np.ndarray) -> list[np.ndarray]:
    """Pixels of each of ten colours that k-means finds in the image."""
    colours = cv2.cvtColor(cv2.medianBlur(pixels, 5), cv2.COLOR_BGR2LAB).reshape(-1, 3).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1.0)
    cv2.setRNGSeed(0)
    _, nearest, _ = cv2.kmeans(colours, 10, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    return list(nearest.reshape(1, *pixels.shape[:2]) == np.arange(10)[:, None, None])


def blobs(pixels: np.ndarray, masks: list[np.ndarray]) -> Iterator[tuple[list[int], float, np.ndarray]]:
    """Box (x, y, width, height), share of the box that is filled, and mean BGR of every blob that is not too small."""
    for mask in masks:
        opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(opened)
        for number, (x, y, width, height, area) in enumerate(stats.tolist()):
            long_side, short_side = max(width, height), min(width, height)
            if number and area >= 80 and short_side >= 12 and long_side < 130 and long_side < 2 * short_side:
                yield [x, y, width, height], area / (width * height), pixels[numbers == number].mean(0)


def colours_and_classes(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean BGR inside every training box (N, 3) and the boxes' classes (N,), counted from 0."""
    colours, classes = [], []
    for image, annotations in per_image(root, "train2017"):
        pixels = cv2.imread(str(root / "train2017" / image["file_name"]))
        for annotation in annotations:
            x, y, width, height = annotation["bbox"]
            colours.append(
                pixels[y + height // 4 : y + height * 3 // 4, x + width // 4 : x + width * 3 // 4].mean((0, 1))
            )
            classes.append(annotation["category_id"] - 1)
    return np.array(colours), np.array(classes)


def ap50(truth: Path, found: list[dict[str, Any]]) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        scored = COCOeval(coco, coco.loadRes(found), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return float(scored.stats[1])


def test_thresholding_colours_and_boxing_the_blobs_stays_under_ap50_of_030(demo_set: Path):
    colours, classes = colours_and_classes(demo_set)
    prior = np.bincount(classes, minlength=len(demo.CLASSES)) / len(classes)
    truth = demo_set / "annotations" / "instances_val2017.json"
    results = {}
    for masks_of in (hue_masks, saturation_masks, cluster_masks):
        by_colour, by_prior, by_best = [], [], []
        for image, _ in per_image(demo_set, "val2017"):
            pixels = cv2.imread(str(demo_set / "val2017" / image["file_name"]))
            for box, filled, colour in blobs(pixels, masks_of(pixels)):
                nearest = np.argsort(((colours - colour) ** 2).sum(1))[:25]
                shares = np.bincount(classes[nearest], minlength=len(demo.CLASSES)) / len(nearest)
                for index in range(len(demo.CLASSES)):
                    place = {"image_id": image["id"], "bbox": box, "category_id": index + 1}
                    by_colour.append(place | {"score": filled * shares[index]})
                    by_prior.append(place | {"score": filled * prior[index]})
                    if index == shares.argmax():
                        by_best.append(place | {"score": filled})
        for name, found in (("colour", by_colour), ("prior", by_prior), ("best guess", by_best)):
            results[f"{masks_of.__name__}, class by {name}"] = ap50(truth, found)
    print("\n".join(f"{name}: AP50 {value:.3f}" for name, value in results.items()))
    assert max(results.values()) < 0.30
    assert max(results.values()) > 0.01  # else the baseline is broken, not beaten
