"""Small inputs as people bring them, each for a kind: what comes out of the import, or what is told."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from yolab.data.formats import import_data
from yolab.data.verify import verify
from yolab.errors import UsageError

RED, GREEN, BLUE = (200, 10, 10), (10, 200, 10), (10, 10, 200)
SIZE = (96, 64)
CENTRE = "0 0.5 0.5 0.2 0.2\n"
CENTRE_BOX = [38.4, 25.6, 19.2, 12.8]


@dataclass(frozen=True)
class Picture:
    """An image of one colour; `orientation` is what EXIF says of it."""

    colour: tuple[int, int, int] = RED
    orientation: int = 1
    size: tuple[int, int] = SIZE

    def write(self, path: Path) -> None:
        image = Image.new("RGB", self.size, self.colour)
        exif = image.getexif()
        exif[0x0112] = self.orientation
        kind = {".jfif": "JPEG", ".jpe": "JPEG", ".jpg": "JPEG", ".gif": "GIF"}.get(path.suffix.lower(), "PNG")
        image.save(path, kind, **({"exif": exif} if self.orientation != 1 else {}))


@dataclass(frozen=True)
class Comes:
    """The boxes of each picture by split, the classes, and what the notes say: one pattern a note."""

    splits: dict[str, dict[str, list[list[float]]]]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    colours: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    areas: tuple[float, ...] | None = None


def write(root: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Picture):
            content.write(path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return root


def yolo(label: str = CENTRE, described: str = "names: [a, b, c]") -> dict[str, Any]:
    """One image, x.png, in images/train."""
    content = f"train: images/train\n{described}\n"
    return {"data.yaml": content, "images/train/x.png": Picture(), "labels/train/x.txt": label}


def coco(*names: str, categories: Any = ("cat", "dog"), image: Any = None, **annotation: Any) -> dict[str, Any]:
    """Images with a box each, `annotation` in all of them."""
    numbered = list(enumerate(names, start=1))
    return {
        "images": [{"id": n, "file_name": name, "width": 96, "height": 64, **(image or {})} for n, name in numbered],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 30, 30], **annotation} for n, _ in numbered
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, start=1)],
    }


def voc(name: str, size: tuple[int, int] = SIZE, box: tuple[int, ...] = (11, 11, 41, 41)) -> str:
    corners = "".join(f"<{n}>{value}</{n}>" for n, value in zip(("xmin", "ymin", "xmax", "ymax"), box))
    width, height = size
    return (
        f"<annotation><filename>{name}</filename><size><width>{width}</width><height>{height}</height></size>"
        f"<object><name>cat</name><bndbox>{corners}</bndbox></object></annotation>"
    )


def without(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return COCO's content without some keys of its images."""
    images = [{k: v for k, v in image.items() if k not in keys} for image in content["images"]]
    return {**content, "images": images}


BOX = [10.0, 10.0, 30.0, 30.0]
ONE = {"x.png": [CENTRE_BOX]}
ROBOFLOW = {"id": 0, "name": "animals", "supercategory": "none"}
KEYPOINTS = coco("1.png", categories=["person"], keypoints=[1, 2, 2])

# name: files, what comes out or what is told
INPUTS: dict[str, tuple[dict[str, Any], Comes | str]] = {
    "coco: the same name in two splits": (
        {
            "annotations/instances_train.json": coco("1.png"), "annotations/instances_val.json": coco("1.png"),
            "train/1.png": Picture(GREEN), "val/1.png": Picture(RED),
        },
        Comes({"train2017": {"1.png": [BOX]}, "val2017": {"1.png": [BOX]}}, ("cat", "dog"),
              colours={"train2017/1.png": GREEN, "val2017/1.png": RED}),
    ),
    "coco: a name that may be two pictures": (
        {"a.json": coco("1.png"), "one/1.png": Picture(), "two/1.png": Picture()}, "may be .*1.png or .*1.png",
    ),
    "coco: the area as annotated": (
        {"annotations/instances_train.json": coco("1.png", area=800.0), "train/1.png": Picture()},
        Comes({"train2017": {"1.png": [BOX]}}, ("cat", "dog"), areas=(800.0,)),
    ),
    "coco: no area, but a polygon": (
        {"train.json": coco("1.png", segmentation=[[10, 10, 40, 10, 40, 40]]), "train/1.png": Picture()},
        Comes({"train2017": {"1.png": [BOX]}}, ("cat", "dog"), areas=(450.0,)),
    ),
    "coco: an outline that is none": (
        {"train.json": coco("1.png", segmentation=[10, 10, 40]), "train/1.png": Picture()},
        Comes({"train2017": {"1.png": [BOX]}}, ("cat", "dog"), ("Outlines left out.*: 1 .of annotation 1",)),
    ),
    "coco: backslashes": (
        {"result.json": coco("images\\a.png", segmentation=[]), "images/a.png": Picture()},
        Comes({"result": {"a.png": [BOX]}}, ("cat", "dog")),
    ),
    "coco: folders of another machine": (
        {"train.json": coco("/home/me/set/a.png", "/home/me/set/b.png"), "a.png": Picture(), "b.png": Picture()},
        Comes({"train2017": {"a.png": [BOX], "b.png": [BOX]}}, ("cat", "dog")),
    ),
    "coco: captions, keypoints and others of the official archive": (
        {
            "annotations/captions_train2017.json": {"images": [], "annotations": [{"id": 1, "caption": "x"}]},
            "annotations/instances_train2017.json": coco("1.png"),
            "annotations/person_keypoints_train2017.json": KEYPOINTS,
            "annotations/panoptic_train2017.json": {**coco(), "annotations": [{"segments_info": []}]},
            "annotations/image_info_test2017.json": {"images": [], "categories": []},
            "train2017/1.png": Picture(),
        },
        Comes({"train2017": {"1.png": [BOX]}}, ("cat", "dog"), ("JSON files left out.*: 4",)),
    ),
    "coco: keypoints alone": (
        {"annotations/person_keypoints_train2017.json": KEYPOINTS, "train2017/1.png": Picture()},
        Comes({"train2017": {"1.png": [BOX]}}, ("person",)),
    ),
    "coco: captions alone": ({"captions.json": {"images": [], "annotations": []}}, "no JSON file with COCO's lists"),
    "coco: annotations of a split that isn't there": (
        {"annotations/instances_train2017.json": coco("1.png", "2.png"),
         "annotations/instances_val2017.json": coco("1.png"), "val2017/1.png": Picture()},
        Comes({"val2017": {"1.png": [BOX]}}, ("cat", "dog"),
              ("Images left out, which are described and not there: 2", "Splits left out.*train2017")),
    ),
    "coco: a file of annotations of no folder": (
        {"annotations.json": coco("1.png"), "1.png": Picture()}, Comes({"train2017": {"1.png": [BOX]}}, ("cat", "dog")),
    ),
    "coco: several files a split": (
        {"train/_annotations.coco.json": coco("1.png"), "annotations/instances_train.json": coco("2.png"),
         "train/1.png": Picture(GREEN), "train/2.png": Picture(BLUE)},
        Comes({"train2017": {"1.png": [BOX], "2.png": [BOX]}}, ("cat", "dog"),
              colours={"train2017/1.png": GREEN, "train2017/2.png": BLUE}),
    ),
    "coco: one picture in two files of a split": (
        {"train/_annotations.coco.json": coco("1.png"), "annotations/instances_train.json": coco("1.png"),
         "train/1.png": Picture()},
        "1.png is described twice in the split train2017",
    ),
    "coco: no size": (
        {"train.json": without(coco("1.png"), "width", "height"), "train/1.png": Picture()},
        Comes({"train2017": {"1.png": [BOX]}}, ("cat", "dog")),
    ),
    "coco: an annotation of no image": (
        {"train.json": coco("1.png", image_id=99), "train/1.png": Picture()}, "annotation 1 belongs to image 99, which",
    ),
    "coco: an annotation of no category": (
        {"train.json": coco("1.png", category_id=9), "train/1.png": Picture()}, "annotation 1 is of category 9, which",
    ),
    "coco: an id as a text": (
        {"train.json": coco("1.png", image_id="1"), "train/1.png": Picture()},
        Comes({"train2017": {"1.png": [BOX]}}, ("cat", "dog")),
    ),
    "coco: a box that is not a number": (
        {"train.json": coco("1.png", bbox=[1, 2, float("nan"), 4]), "train/1.png": Picture()},
        "annotation 1 needs four finite numbers",
    ),
    "coco: two classes of one name": (
        {"train.json": coco("1.png", categories=["cat", "cat"]), "train/1.png": Picture()}, "category 'cat' twice",
    ),
    "coco: unused classes in the order of their ids": (
        {"train.json": {**coco("1.png"), "categories": [
            {"id": 7, "name": "zebra"}, {"id": 1, "name": "yak"}, ROBOFLOW | {"supercategory": "animals"}]},
         "train/1.png": Picture()},
        Comes({"train2017": {"1.png": [BOX]}}, ("animals", "yak", "zebra")),
    ),
    "coco: a class that groups the others": (
        {"train.json": {**coco("1.png"), "categories": [ROBOFLOW, {"id": 1, "name": "a", "supercategory": "animals"}]},
         "train/1.png": Picture()},
        Comes({"train2017": {"1.png": [BOX]}}, ("a",), ("Classes left out.*animals",)),
    ),
    "coco: crowds of null": (
        {"train.json": coco("1.png", iscrowd=None), "train/1.png": Picture()},
        Comes({"train2017": {"1.png": [BOX]}}, ("cat", "dog")),
    ),
    "coco: broken JSON": ({"train.json": '{"images": [', "train/1.png": Picture()}, "Can't read .*train.json as JSON"),
    "coco: JSON nested deeply": ({"train.json": "[" * 200_000}, "Can't read .*train.json as JSON"),
    "coco: a photograph upright by its size": (
        {"train.json": coco("p.jpg", image={"width": 64, "height": 96}), "train/p.jpg": Picture(orientation=6)},
        Comes({"train2017": {"p.jpg": [BOX]}}, ("cat", "dog"), ("written upright.*: 1",)),
    ),
    "coco: a photograph as stored by its size": (
        {"train.json": coco("p.jpg"), "train/p.jpg": Picture(orientation=6)},
        Comes({"train2017": {"p.jpg": [BOX]}}, ("cat", "dog")),
    ),
    "coco: a photograph of which no size tells": (
        {"train.json": coco("p.jpg"), "train/p.jpg": Picture(orientation=3)},
        Comes({"train2017": {"p.jpg": [BOX]}}, ("cat", "dog"), ("taken as they are stored: 1",)),
    ),
    "yolo: a photograph turned by EXIF": (
        yolo("0 0.25 0.78125 0.25 0.3125") | {"images/train/x.png": Picture(orientation=6)},
        Comes({"train2017": {"x.png": [[8, 60, 16, 30]]}}, ("a", "b", "c"), ("written upright.*: 1",)),
    ),
    "yolo: a negative class": (yolo("-1 0.5 0.5 0.2 0.2"), "x.txt, line 1, .*there is no class -1"),
    "yolo: half a class": (yolo("0.5 0.5 0.5 0.2 0.2"), "x.txt, line 1, .*there is no class 0.5"),
    "yolo: pixels": (yolo("\n0 48 32 20 20"), "x.txt, line 2, .*perhaps pixels"),
    "yolo: no number": (yolo("0 nan 0.5 0.2 0.2"), "x.txt, line 1, .*finite numbers"),
    "yolo: a box with a score": (yolo("0 0.5 0.5 0.2 0.2 0.9"), "x.txt, line 1, .*neither a box .4. nor a polygon"),
    "yolo: a byte order mark": (yolo("\ufeff" + CENTRE), Comes({"train2017": ONE}, ("a", "b", "c"))),
    "yolo: another encoding": (yolo() | {"labels/train/x.txt": "é".encode("utf-16")}, "x.txt is not text in UTF-8"),
    "yolo: keypoints": (
        yolo("0 0.5 0.5 0.2 0.2 0.1 0.1 0.9 0.9", "names: [a, b, c]\nkpt_shape: [2, 2]"),
        Comes({"train2017": ONE}, ("a", "b", "c"), ("Keypoints are left out",)),
    ),
    "yolo: names that YAML takes for something else": (
        yolo(described="names: [no, yes, 7, 1e3, null]"), Comes({"train2017": ONE}, ("no", "yes", "7", "1e3", "null")),
    ),
    "yolo: class numbers with a gap": (
        yolo("7 0.5 0.5 0.2 0.2", "names: {7: late, 2: early}"), Comes({"train2017": ONE}, ("early", "late")),
    ),
    "yolo: names as one text": (yolo(described="names: abc"), "must list the classes as names"),
    "yolo: two classes of one name": (yolo(described="names: [a, a]"), "Two classes of .* are called 'a'"),
    "yolo: images of other endings": (
        yolo() | {f"images/train/{name}": Picture() for name in ("a.jfif", "b.jpe", "c.gif")}
        | {f"labels/train/{name}.txt": CENTRE for name in ("a", "b", "gone")},
        Comes({"train2017": {"a.jfif": [CENTRE_BOX], "b.jpe": [CENTRE_BOX], "c.gif": [], **ONE}}, ("a", "b", "c"),
              ("Labels left out.*: 1 .*gone.txt", "Images without a label file.*: 1 .*c.gif")),
    ),
    "yolo: hidden files": (
        yolo() | dict.fromkeys(("images/train/._x.png", "labels/train/._x.txt", "._data.yaml"), b"junk\xff")
        | {"__MACOSX/images/train/x.png": b"junk", ".ipynb_checkpoints/x.png": b"junk"},
        Comes({"train2017": ONE}, ("a", "b", "c")),
    ),
    "yolo: a label for two images": (yolo() | {"images/train/x.jpg": Picture()}, "may be .*x.jpg or .*x.png"),
    "yolo: labels beside the images": (
        {"data.yaml": "train: train\nnames: [a]", "train/x.png": Picture(), "train/x.txt": CENTRE},
        Comes({"train2017": ONE}, ("a",)),
    ),
    "yolo: a split that isn't there": (
        yolo(described="val: ../valid/images\ntest: null\nnames: [a]"),
        Comes({"train2017": ONE}, ("a",), ("Splits that data.yaml names.*: 1 .val: ../valid/images",)),
    ),
    "yolo: splits in folders of their own, said from elsewhere": (
        {"data.yaml": "train: ../train/images\nval: ../valid/images\nnames: [a]",
         "train/images/x.png": Picture(), "train/labels/x.txt": CENTRE,
         "valid/images/x.png": Picture(GREEN), "valid/labels/x.txt": CENTRE},
        Comes({"train2017": ONE, "val2017": ONE}, ("a",), colours={"val2017/x.png": GREEN}),
    ),
    "yolo: CVAT's 1.1": (
        {"obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n", "obj.names": "cat\ndog\n",
         "train.txt": "data/obj_train_data/x.png\n", "obj_train_data/x.png": Picture(), "obj_train_data/x.txt": CENTRE},
        Comes({"train2017": ONE}, ("cat", "dog")),
    ),
    "yolo: Label Studio's": (
        {"classes.txt": "cat\ndog\n", "notes.json": {"categories": []}, "images/x.png": Picture(),
         "labels/x.txt": CENTRE},
        Comes({"train2017": ONE}, ("cat", "dog")),
    ),
    "yolo: a list of images, one of them gone": (
        yolo() | {"data.yaml": "train: train.txt\nnames: [a]", "train.txt": "./images/train/x.png\nimages/train/y.png"},
        Comes({"train2017": ONE}, ("a",), ("Images left out, which train.txt lists.*: 1 .images/train/y.png",)),
    ),
    "yolo: no YAML": (yolo() | {"data.yaml": "names: [a\n"}, "data.yaml is not valid YAML"),
    "voc: brackets and spaces": (
        {"Annotations/photo [1].xml": voc("photo [1].png"), "JPEGImages/photo [1].png": Picture()},
        Comes({"train2017": {"photo [1].png": [BOX]}}, ("cat",)),
    ),
    "voc: lists": (
        {f"ImageSets/Main/{name}.txt": text for name, text in (("trainval", "a\nb b"), ("test", "c"), ("a_val", "a 1"))}
        | {f"Annotations/{name}.xml": voc(f"{name}.png") for name in ("a", "b b", "c", "d")}
        | {f"JPEGImages/{name}.png": Picture() for name in ("a", "b b", "c", "d")},
        Comes({"test2017": {"c.png": [BOX]}, "train2017": {"a.png": [BOX], "b b.png": [BOX]}}, ("cat",),
              ("trainval.txt is taken as train", "Lists left out.*: 1 .*a_val",
               "Labels left out, as no list.*: 1 .*d.xml", "Images left out, as no split has them: 1 .*d.png")),
    ),
    "voc: lists with endings": (
        {"ImageSets/Main/train.txt": "a.png\nb.v2\n", "Annotations/a.xml": voc("a.png"), "JPEGImages/a.png": Picture(),
         "Annotations/b.v2.xml": voc("b.v2.png"), "JPEGImages/b.v2.png": Picture()},
        Comes({"train2017": {"a.png": [BOX], "b.v2.png": [BOX]}}, ("cat",)),
    ),
    "voc: a folder a split": (
        {"train/a.jpg": Picture(), "train/a.xml": voc("a.jpg"), "valid/a.jpg": Picture(), "valid/a.xml": voc("a.jpg")},
        Comes({"train2017": {"a.jpg": [BOX]}, "val2017": {"a.jpg": [BOX]}}, ("cat",)),
    ),
    "voc: a photograph turned by EXIF": (
        {"Annotations/p.xml": voc("p.jpg", (64, 96), (9, 61, 25, 91)), "JPEGImages/p.jpg": Picture(orientation=6)},
        Comes({"train2017": {"p.jpg": [[8, 60, 16, 30]]}}, ("cat",), ("written upright.*: 1",)),
    ),
    "voc: another size": (
        {"Annotations/a.xml": voc("a.png", (960, 640)), "JPEGImages/a.png": Picture()},
        Comes({"train2017": {"a.png": [BOX]}}, ("cat",), ("Labels that give another size.*: 1 .*a.xml",)),
    ),
    "voc: an image that isn't there": (
        {"Annotations/a.xml": voc("a.png"), "Annotations/b.xml": voc("b.png"), "JPEGImages/a.png": Picture()},
        Comes({"train2017": {"a.png": [BOX]}}, ("cat",), ("Labels left out, as their image is not there: 1 .*b.xml",)),
    ),
    "labelme": (
        {"a.png": Picture(), "a.json": {"imagePath": "..\\at\\a.png", "imageWidth": 96, "imageHeight": 64, "shapes": [
            {"label": "cat", "points": [[10, 10], [40, 40]], "shape_type": "rectangle"},
            {"label": "dog", "points": [[50, 30]], "shape_type": "point"}]}},
        Comes({"train2017": {"a.png": [BOX]}}, ("cat",), ("Shapes left out.*: 1 .shape 2",)),
    ),
    "cvat": (
        {"images/a.png": Picture(), "annotations.xml":
            '<annotations><image id="0" name="a.png" subset="Test" width="96" height="64">'
            '<box label="cat" xtl="10" ytl="10" xbr="40" ybr="40"/><polygon label="dog" points="1,1;5,1;5,5"/>'
            '<polyline label="cat" points="1,1;5,1"/></image><track id="1" label="cat"/></annotations>'},
        Comes({"test2017": {"a.png": [BOX, [1, 1, 4, 4]]}}, ("cat", "dog"),
              ("Shapes left out.*: 1 .a polyline", "Tracks of a video left out.*: 1")),
    ),
    "an image that is none": (yolo() | {"images/train/x.png": b"<html>404</html>"}, "Can't read the image .*x.png"),
    "nothing that is known": ({"notes.md": "x"}, "Can't tell the layout"),
}  # fmt: skip


@pytest.mark.parametrize("folder", ["source", "it's a [1] ? %20 # 猫"])
@pytest.mark.parametrize(("files", "right"), INPUTS.values(), ids=INPUTS)
def test_an_input_comes_out_as_it_is_meant_or_is_refused_in_words(files, right, folder, tmp_path):
    source, target = write(tmp_path / folder, files), tmp_path / f"{folder} out"
    if isinstance(right, str):
        with pytest.raises(UsageError) as refusal:
            import_data(source, target)
        assert re.search(right, str(refusal.value))
        assert [path.name for path in tmp_path.iterdir()] == [folder]
        return
    written = import_data(source, target)
    content = {
        split: json.loads((target / "annotations" / f"instances_{split}.json").read_text()) for split in written.splits
    }
    assert {split: boxes(described) for split, described in content.items()} == right.splits
    assert written.names == right.names
    assert len(written.notes) == len(right.notes), written.notes
    for note, pattern in zip(written.notes, right.notes):
        assert re.search(pattern, note)
    assert verify(target).ok
    for place, colour in right.colours.items():
        assert Image.open(target / place).convert("RGB").getpixel((0, 0)) == colour
    if right.areas:
        assert tuple(each["area"] for described in content.values() for each in described["annotations"]) == right.areas


def boxes(content: dict[str, Any]) -> dict[str, list[list[float]]]:
    return {
        image["file_name"]: [
            [round(side, 3) for side in each["bbox"]]
            for each in content["annotations"]
            if each["image_id"] == image["id"]
        ]
        for image in content["images"]
    }
