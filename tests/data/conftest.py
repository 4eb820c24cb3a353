"""A tiny sound data set in COCO layout, as plain JSON to be spoiled, and a cache of the test's own."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


class Tiny:
    """Two splits, each with a JPEG and a PNG of 40x30 pixels and three objects, one of them a crowd.

    Change `content[split]` and call `write`, or spoil the files in `folder(split)`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.content: dict[str, dict[str, Any]] = {split: self._describe() for split in ("train", "val")}
        for number, split in enumerate(self.content):
            self.folder(split).mkdir(parents=True)
            noise = np.random.default_rng(number).integers(0, 256, (2, 30, 40, 3), np.uint8)
            for name, pixels in zip(("a.jpg", "b.png"), noise, strict=True):
                assert cv2.imwrite(str(self.folder(split) / name), pixels)
        self.write()

    def folder(self, split: str) -> Path:
        return self.root / split

    def write(self) -> None:
        (self.root / "annotations").mkdir(exist_ok=True)
        for split, content in self.content.items():
            (self.root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))

    @staticmethod
    def _describe() -> dict[str, Any]:
        return {
            "images": [
                {"id": 20, "file_name": "b.png", "width": 40, "height": 30},
                {"id": 10, "file_name": "a.jpg", "width": 40, "height": 30},
            ],
            "annotations": [
                {"id": 3, "image_id": 10, "category_id": 7, "bbox": [1, 2, 10, 20], "area": 150.5, "iscrowd": 0},
                {"id": 1, "image_id": 10, "category_id": 2, "bbox": [5.5, 5, 30, 10], "area": 300, "iscrowd": 0},
                {"id": 2, "image_id": 20, "category_id": 2, "bbox": [0, 0, 40, 30], "area": 1200, "iscrowd": 1},
            ],
            "categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}],
        }


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is remembered out of the user's cache."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let results about files of this very moment be remembered."""
    monkeypatch.setattr("yolab.data.cache.SETTLED_SECONDS", 0.0)


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path / "tiny")


@pytest.fixture
def bccd() -> Path | None:
    """Real data (blood cells), where this machine has it."""
    root = Path(__file__).parents[2].parent / "shared/datasets/bccd"
    return root if root.is_dir() else None
