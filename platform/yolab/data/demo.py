"""The demo data set: drawn, not downloaded, and byte for byte the same on every machine.

Raw random bits, integer arithmetic (see demo_scene, demo_shapes) and files without a codec, so that the version that
DVC pins is true wherever the set is drawn. Classes differ by shape; colour says nothing about them.
"""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from yolab.data.demo_scene import Drawn, compose
from yolab.data.demo_shapes import SHAPES, Bits
from yolab.data.new_folder import new_folder

SEED = 7
IMAGES = {"train2017": 240, "val2017": 64}
SIZES_PX = ((192, 144), (176, 176), (144, 192))  # width, height; images take turns
CLASSES = tuple(SHAPES)

Progress = Callable[[int, int], None]


def draw(root: Path, progress: Progress | None = None) -> None:
    """Draw the demo set in COCO layout under `root`; `progress` hears of images done and images in all.

    `root` appears only when it is complete. Raises UsageError if it exists and is not empty.
    """
    done = 0
    with new_folder(root) as folder:
        (folder / "annotations").mkdir()
        for split, count in IMAGES.items():
            (folder / split).mkdir()
            scenes = []
            for index in range(count):
                width, height = SIZES_PX[index % len(SIZES_PX)]
                pixels, objects = compose(Bits(SEED, list(IMAGES).index(split), index), width, height)
                (folder / split / _file_name(index)).write_bytes(_bmp(pixels))
                scenes.append((width, height, objects))
                done += 1
                if progress:
                    progress(done, sum(IMAGES.values()))
            text = json.dumps(_coco(scenes), separators=(",", ":")) + "\n"
            (folder / "annotations" / f"instances_{split}.json").write_bytes(text.encode("ascii"))


def _file_name(index: int) -> str:
    return f"{index + 1:012d}.bmp"


def _coco(scenes: list[tuple[int, int, list[Drawn]]]) -> dict[str, Any]:
    """Return COCO's structure of (width, height, objects) per image; `area` is the box's, `colour` is an extra key."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, (width, height, objects) in enumerate(scenes):
        images.append({"id": index + 1, "file_name": _file_name(index), "width": width, "height": height})
        for drawn in objects:
            box_width, box_height = drawn.box_xywh[2:]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": CLASSES.index(drawn.shape) + 1,
                    "bbox": list(drawn.box_xywh),
                    "area": box_width * box_height,
                    "iscrowd": 0,
                    "colour": drawn.colour,
                }
            )
    categories = [{"id": index + 1, "name": name, "supercategory": "shape"} for index, name in enumerate(CLASSES)]
    info = {"description": "yolab demo set", "version": "1"}
    return {"info": info, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def _bmp(pixels: np.ndarray) -> bytes:
    """Return a 24-bit BMP file of `pixels` (height, width, 3) uint8 RGB: rows bottom up, BGR, padded to 4 bytes."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, (width * 3 + 3) // 4 * 4), np.uint8)
    rows[:, : width * 3] = pixels[::-1, :, ::-1].reshape(height, width * 3)
    pixels_per_metre = 2835  # 72 dpi, the customary value
    file_header = struct.pack("<2sIHHI", b"BM", 54 + rows.size, 0, 0, 54)
    image_header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 24, 0, rows.size, pixels_per_metre, pixels_per_metre, 0, 0
    )
    return file_header + image_header + rows.tobytes()
