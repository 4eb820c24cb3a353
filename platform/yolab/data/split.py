"""A validation split cut from the training split, for data that comes in one piece."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from yolab.data.annotations import annotations_file, split_names
from yolab.data.new_folder import link, new_folder
from yolab.data.split_files import SplitFiles
from yolab.errors import UsageError

TRAIN, VAL = "train2017", "val2017"  # as experiments name them


def split_data(root: Path, target: Path, share: float, seed: int) -> dict[str, tuple[int, int]]:
    """Write the one split of `root` as two in a new folder, a share of the images, drawn at random, for validation;
    images become hard links where the disk allows it. Return how many images and objects each has.

    Raises UsageError, and leaves nothing behind, if there are several splits, or faults in the one, or an image of it
    would leave none.
    """
    names = split_names(root)
    if len(names) > 1:
        raise UsageError(f"{root} has the splits {', '.join(names)} already: data.train and data.val name them.")
    files = SplitFiles(root, names[0])
    files.require()
    if files.images.is_packed:
        raise UsageError(f"{root} is packed: split the data set that it was made of, then pack it.")
    if files.checked.findings:
        raise UsageError(f"{files.annotations} has faults: `yolab data verify {root}` shows them.")
    images = files.content["images"]
    held_out = round(share * len(images))
    if not 0 < held_out < len(images):
        raise UsageError(f"--val {share:g} of {len(images)} images leaves a split without any: take another share.")
    chosen = set(np.random.default_rng(seed).permutation(len(images))[:held_out].tolist())
    parts = {
        TRAIN: [image for number, image in enumerate(images) if number not in chosen],
        VAL: [image for number, image in enumerate(images) if number in chosen],
    }
    counts = {}
    with new_folder(target) as incoming:
        (incoming / "annotations").mkdir()
        for name, part in parts.items():
            counts[name] = len(part), _write(incoming, name, part, files)
    return counts


def _write(target: Path, split: str, images: list[dict[str, Any]], files: SplitFiles) -> int:
    """Write a split with some of the images; return how many objects they have."""
    ids = {image["id"] for image in images}
    annotations = [each for each in files.content["annotations"] if each["image_id"] in ids]
    for image in images:
        file = target / split / image["file_name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        link(files.images.folder / image["file_name"], file)
    described = json.dumps({**files.content, "images": images, "annotations": annotations})
    annotations_file(target, split).write_text(described)
    return len(annotations)
