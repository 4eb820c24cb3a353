"""Every label ends with its own picture, or is told to be left out, however the folders and files are called."""

import json
import re
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from yolab.data.formats import import_data
from yolab.errors import UsageError

SIDE = 4  # pixels
# Few, so that many are alike; in both forms of Unicode, and such as mean something to a shell, an address or a pattern.
FOLDERS = ["", "a", "b", "a/b", "b/a", "café", "café", "it's [1]", "x y", "images", "labels", "50%20", "train", "?*"]
NAMES = ["1", "2", "photo [1]", "é", "é", "a b", "a.b", "100%", "#", "train"]
ENDINGS = [".png", ".PNG", ".bmp"]


@dataclass(frozen=True)
class Item:
    """A picture with a label: which of the split's files describes it, if any; whether each of the two is there."""

    split: str
    folder: str
    name: str
    ending: str
    file: int
    backslashes: bool
    recomposed: bool
    there: bool
    labelled: bool

    def path(self, *, written: bool = False) -> str:
        path = "/".join(filter(None, (self.folder, self.name + self.ending)))
        if written and self.recomposed:
            form = "NFD" if unicodedata.is_normalized("NFC", path) else "NFC"
            path = unicodedata.normalize(form, path)
        return path.replace("/", "\\") if written and self.backslashes else path


ITEMS = st.lists(
    st.builds(
        Item,
        st.sampled_from(["train", "val"]),
        st.sampled_from(FOLDERS),
        st.sampled_from(NAMES),
        st.sampled_from(ENDINGS),
        st.integers(0, 1),
        st.booleans(),
        st.booleans(),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([True, True, True, False]),
    ),
    min_size=1,
    max_size=12,
    # a picture in a folder `images` may be meant by a label of the folder above
    unique_by=lambda item: (
        item.split,
        unicodedata.normalize("NFC", f"{item.folder}/{item.name}".replace("images", "")),
    ),
)


def picture(path: Path, number: int) -> None:
    """Write a picture that tells its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(path.suffix.lower(), np.full((SIDE, SIDE, 3), number, np.uint8))[1]
    path.write_bytes(encoded.tobytes())
    (path.parent / f"._{path.name}").write_bytes(b"hidden")


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    (path.parent / f"._{path.name}").write_bytes(b"hidden \xff")


def write_coco(root: Path, items: list[Item]) -> None:
    contents: dict[tuple[str, int], dict[str, Any]] = {}
    for number, item in enumerate(items):
        if item.there:
            picture(root / item.split / item.path(), number)
        if item.labelled:
            empty: dict[str, Any] = {"images": [], "annotations": [], "categories": categories(items)}
            content = contents.setdefault((item.split, item.file), empty)
            content["images"].append({"id": number, "file_name": item.path(written=True)})
            box = {"id": number, "image_id": number, "category_id": number, "bbox": [0, 0, 1, 1]}
            content["annotations"].append(box)
    for (split, file), content in contents.items():
        place = f"annotations/instances_{split}.json" if file else f"{split}/_annotations.coco.json"
        text(root / place, json.dumps(content))


def categories(items: list[Item]) -> list[dict[str, Any]]:
    return [{"id": number, "name": str(number)} for number in range(len(items))]


def write_yolo(root: Path, items: list[Item]) -> None:
    for number, item in enumerate(items):
        if item.there:
            picture(root / "images" / item.split / item.path(), number)
        if item.labelled:
            path = root / "labels" / item.split / item.path(written=item.recomposed and not item.backslashes)
            text(path.with_suffix(".txt"), f"{number} 0.5 0.5 0.5 0.5\n")
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True, exist_ok=True)
    names = {number: str(number) for number in range(len(items))}
    text(root / "data.yaml", f"train: images/train\nval: images/val\nnames: {names}\n")


def write_voc(root: Path, items: list[Item]) -> None:
    for number, item in enumerate(items):
        if item.there:
            picture(root / "JPEGImages" / item.split / item.path(), number)
        if item.labelled:
            path = root / "Annotations" / item.split / item.path(written=item.recomposed and not item.backslashes)
            corners = "<xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            described = f"<object><name>{number}</name><bndbox>{corners}</bndbox></object>"
            name = f"<filename>{item.name}{item.ending}</filename>"
            text(path.with_suffix(".xml"), f"<annotation>{name}{described}</annotation>")


def write_cvat(root: Path, items: list[Item]) -> None:
    images = []
    for number, item in enumerate(items):
        if item.there:
            picture(root / "images" / item.split / item.path(), number)
        if item.labelled:
            name = f"{item.split}/{item.path(written=True)}"
            box = f'<box label="{number}" xtl="0" ytl="0" xbr="1" ybr="1"/>'
            images.append(f'<image name="{name}" subset="{item.split}">{box}</image>')
    text(root / "annotations.xml", f"<annotations>{''.join(images)}</annotations>")


def write_labelme(root: Path, items: list[Item]) -> None:
    for number, item in enumerate(items):
        if item.there:
            picture(root / item.split / item.path(), number)
        if item.labelled:
            shape = {"label": str(number), "points": [[0, 0], [1, 1]], "shape_type": "rectangle"}
            content = {"shapes": [shape], "imagePath": f"{item.name}{item.ending}"}
            path = root / item.split / item.path(written=item.recomposed and not item.backslashes)
            text(path.with_suffix(".json"), json.dumps(content))


def in_its_split_again(file: int) -> list[Item]:
    """Return a picture train/1.png, and another one train/train/1.png that this or another file describes."""
    rest = {"backslashes": False, "recomposed": False, "there": True, "labelled": True}
    return [Item("train", "", "1", ".png", 0, **rest), Item("train", "train", "1", ".png", file, **rest)]


@example(items=in_its_split_again(0), write=write_coco)
@example(items=in_its_split_again(1), write=write_coco)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(items=ITEMS, write=st.sampled_from([write_coco, write_yolo, write_voc, write_cvat, write_labelme]))
def test_every_label_ends_with_its_own_picture_or_is_counted_as_left_out(items, write):
    with tempfile.TemporaryDirectory() as folder:
        root, target = Path(folder) / "source", Path(folder) / "target"
        root.mkdir()
        write(root, items)
        try:
            written = import_data(root, target)
        except UsageError as refusal:
            told = str(refusal)
        else:
            told = ""
        if told:
            event(f"{write.__name__} refused")
            assert re.search("may be|has no|Can't tell|names the classes", told), told
            assert not target.exists()
            return
        event(f"{write.__name__} imported")
        found = imported(target, written.names)
        assert all(label == pixels for label, pixels in found if label is not None)
        labels = {label for label, _ in found}
        assert labels - {None} == {str(n) for n, item in enumerate(items) if item.labelled and item.there}
        counted = [int(n) for note in written.notes for n in re.findall(r"(?:described|their image).*: (\d+) \(", note)]
        assert sum(counted) == sum(item.labelled and not item.there for item in items)
        assert sum(images for images, _ in written.splits.values()) == len(found)


def imported(target: Path, names: tuple[str, ...]) -> list[tuple[str | None, str]]:
    """Return of each picture what its label says, and what its pixels say."""
    found = []
    for file in (target / "annotations").iterdir():
        content = json.loads(file.read_text())
        label_of = {each["image_id"]: names[each["category_id"] - 1] for each in content["annotations"]}
        assert len(label_of) == len(content["annotations"])
        for image in content["images"]:
            encoded = (target / file.stem.removeprefix("instances_") / image["file_name"]).read_bytes()
            pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
            found.append((label_of.get(image["id"]), str(pixels[0, 0, 0])))
    return found
