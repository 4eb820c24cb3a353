"""Detections on disk, as Parquet: what an evaluation saw, for later comparison without running the model again."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from yolab.evaluation.detect import ImageDetections
from yolab.storage import Storage
from yolab.storage.document import FORMAT, check_version, stamped

FILE_NAME = "detections.parquet"
_OF_EPOCH = re.compile(r"detections-\d+\.parquet")
_FORMAT, _KEY = 1, b"yolab"  # the version of the form, and where the file's metadata says it


def after_epoch(epoch: int) -> str:
    """Return what the file with the detections of a run's evaluation after an epoch is called."""
    return f"detections-{epoch:06d}.parquet"


def latest(place: Storage) -> str | None:
    """Return the name of the file of a run's last evaluation, of those in its place."""
    return max((name for name in place.names() if _OF_EPOCH.fullmatch(name)), default=None)


def forget_after(epoch: int, place: Storage) -> None:
    """Remove what evaluations after an epoch left, when a run goes back to that epoch."""
    for name in place.names():
        if _OF_EPOCH.fullmatch(name) and name > after_epoch(epoch):
            place.remove(name)


def save(detections: Sequence[ImageDetections], path: Path) -> None:
    """Write a row for each detection: image_id, class (from 0), score, x1, y1, x2, y2 in pixels of the image. An image
    without any has one row without a class."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("image_id", "class", "score", "box")}
    for found in detections:
        nothing = not len(found.scores)
        columns["image_id"].append(np.full(len(found.scores) or 1, found.image_id))
        columns["class"].append(np.full(1, -1) if nothing else found.classes.numpy())
        columns["score"].append(np.zeros(1, np.float32) if nothing else found.scores.numpy())
        columns["box"].append(np.zeros((1, 4), np.float32) if nothing else found.boxes.numpy())
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    sides = dict(zip(("x1", "y1", "x2", "y2"), joined.pop("box").T))
    table = pa.table({**joined, **{name: np.ascontiguousarray(side) for name, side in sides.items()}})
    known = pc.if_else(pc.less(table["class"], 0), None, table["class"])
    table = table.set_column(table.schema.get_field_index("class"), "class", known)
    pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(stamped({}, _FORMAT))}), path)


def load(path: Path) -> list[ImageDetections]:
    """Return what `save` wrote, by rising image id. Raises UsageError if a newer yolab wrote it."""
    table = pq.read_table(path)
    said = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    check_version(said.get(FORMAT), _FORMAT, str(path))
    table = table.take(pc.sort_indices(table, [("image_id", "ascending")]))  # stable: scores still fall
    images, counts = np.unique(table["image_id"].to_numpy(), return_counts=True)
    label = table["class"].fill_null(-1).to_numpy()
    boxes = np.stack([table[side].to_numpy() for side in ("x1", "y1", "x2", "y2")], 1)
    columns = [np.split(values, counts.cumsum()[:-1]) for values in (boxes, table["score"].to_numpy(), label)]
    found = []
    for image, box, score, of_class in zip(images.tolist(), *columns):
        known = of_class >= 0
        found.append(ImageDetections(image, *(torch.from_numpy(each[known]) for each in (box, score, of_class))))
    return found
