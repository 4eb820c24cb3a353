"""predict, called as a function."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from yolab.errors import UsageError
from yolab.evaluation.detect import ImageDetections
from yolab.jobs import predict_job
from yolab.jobs.watcher import Watcher


def test_predict_takes_one_path_or_several_and_returns_objects_in_the_images_pixels(
    small_set: Path, small_weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = sorted((small_set / "val2017").iterdir())[:2]
    given = {"weights": small_weights, "output": tmp_path, "confidence": 0.001, "overwrite": True}
    both = predict_job.predict([first, str(second)], **given)
    assert [each.image for each in both] == [str(first), str(second)]
    (one,) = predict_job.predict(first, **given).images
    assert (one.image, one.picture) == (both.images[0].image, both.images[0].picture)
    assert Path(one.picture).stat().st_size > 0
    assert {each.name for each in one.objects} <= {"box", "disc"}
    assert len(one.objects) > 0
    document = both.document()[0]
    assert set(document) == {"image", "picture", "objects"}
    assert set(document["objects"][0]) == {"class", "score", "box"}
    assert capfd.readouterr().out == ""


def test_what_is_not_there_is_a_usage_error(small_set: Path, small_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="doesn't exist"):
        predict_job.predict(tmp_path / "nothing.png", small_weights)
    with pytest.raises(UsageError, match="There are no weights"):
        predict_job.predict(small_set / "val2017", tmp_path / "none.safetensors")


def test_a_local_file_needs_no_registry(small_weights: Path) -> None:
    code = (
        "import sys\n"
        "from yolab.jobs import evaluate_job, export_job, predict_job\n"
        "from yolab.jobs.weights_source import lineage_of, open_weights\n"
        "open_weights(sys.argv[1]), lineage_of(sys.argv[1])\n"
        "print({'mlflow', 'ray', 'dvc'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, small_weights], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Heard(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


PIXELS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def written(folder: Path, *names: str) -> Path:
    """Write an image under each name; `bad` in a name makes it none, and a name that ends in / a folder."""
    folder.mkdir()
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir()
        elif "bad" in name or path.suffix.lower() not in Image.registered_extensions():
            path.write_bytes(b"not an image")
        else:
            Image.fromarray(PIXELS).save(path)
    return folder


@pytest.mark.parametrize(
    ("names", "drawn", "told"),
    [
        (["a.png", "bad.jpg"], ["a.png"], "Left out {folder}/bad.jpg: it is not an image that can be decoded."),
        (["a.png", "._a.png", ".b.png"], ["a.png"], "Not looked at in {folder}: 2 × hidden."),
        (
            ["a.png", "clip.mp4", "README", "sub/"],
            ["a.png"],
            "Not looked at in {folder}: 1 × .mp4, 1 × folder, 1 × without ending.",
        ),
        (["a.jfif", "b.jpe", "c.gif", "D.JPG"], ["D.png", "a.png", "b.png", "c.png"], None),
        (["a-1.jpg", "a.jpg", "a.png", "A.png"], ["A.png", "a-1.png", "a-2.png", "a-3.png"], None),
        (["a.png", "a-objectness.png"], ["a-objectness.png", "a-1.png"], None),
        (["it's [1] 猫 #%.png"], ["it's [1] 猫 #%.png"], None),
    ],
)
def test_what_can_be_read_is_drawn_and_what_is_left_out_is_told(
    names: list[str], drawn: list[str], told: str | None, small_weights: Path, tmp_path: Path
) -> None:
    folder, output, heard = written(tmp_path / "in", *names), tmp_path / "out", Heard()
    found = predict_job.predict(folder, small_weights, output=output, watcher=heard)
    assert [Path(each.picture).name for each in found] == drawn
    assert sorted(path.name for path in output.iterdir()) == sorted(drawn)
    assert [note for note in heard.notes if "objects" not in note] == ([told.format(folder=folder)] if told else [])
    bad = [str(folder / name) for name in names if "bad" in name]
    assert [each.image for each in found.unreadable] == bad
    assert found.exit_code == (1 if bad else 0)
    assert [each["image"] for each in found.document()] == [each.image for each in found] + bad


@pytest.mark.parametrize("shape", [(1, 1), (2, 3000), (500, 1)])
def test_an_image_as_thin_as_a_pixel_is_drawn(shape: tuple[int, int], small_weights: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "thin.png"), np.full((*shape, 3), 90, np.uint8))
    (one,) = predict_job.predict(tmp_path / "thin.png", small_weights, output=tmp_path / "out", confidence=0.001)
    picture = cv2.imread(one.picture)
    assert max(picture.shape) <= max(1920, *shape)
    assert all(box[0] < box[2] and box[1] < box[3] for box in (each.box for each in one.objects))


def test_a_photograph_is_seen_upright_as_viewers_show_it(small_weights: Path, tmp_path: Path) -> None:
    photograph = Image.fromarray(PIXELS)
    exif = photograph.getexif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    photograph.save(tmp_path / "phone.jpg", exif=exif)
    (phone,) = predict_job.predict(tmp_path / "phone.jpg", small_weights, output=tmp_path / "out", confidence=0.001)
    picture = cv2.imread(phone.picture)
    assert picture.shape[0] > picture.shape[1]
    x, y = np.array([each.box[2:] for each in phone.objects]).T
    assert (x.max() <= 48, 48 < y.max() <= 64) == (True, True)


def linked(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        os.link(path, target / path.name)
    return target


@pytest.mark.parametrize("output", ["itself", "symlink", "hard links"])
def test_an_image_is_never_replaced_by_its_picture(output: str, small_weights: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "a.png", "b.png")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "link").symlink_to(folder)
    places = {"itself": folder, "symlink": tmp_path / "link", "hard links": linked(folder, tmp_path / "hard")}
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"a\.png is one of the images"):
            predict_job.predict(folder, small_weights, output=places[output], most=1, overwrite=overwrite)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_another_runs_pictures_are_replaced_when_that_is_asked_alone(small_weights: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "a.png")
    first, second = (predict_job.predict(folder, small_weights, storage=tmp_path / "runs") for _ in range(2))
    names = [Path(each.images[0].picture).relative_to(tmp_path).as_posix() for each in (first, second)]
    assert names == ["runs/predictions/a.png", "runs/predictions-2/a.png"]
    picture = Path(first.images[0].picture)
    picture.write_bytes(b"of another run")
    with pytest.raises(UsageError, match=r"a.png is there already, one of 1 such pictures: .* --overwrite"):
        predict_job.predict(folder, small_weights, output=picture.parent)
    assert picture.read_bytes() == b"of another run"
    predict_job.predict(folder, small_weights, output=picture.parent, overwrite=True)
    assert picture.read_bytes() != b"of another run"


def test_nothing_is_made_where_no_file_is_an_image(small_weights: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "bad.jpg", "bad.png")
    with pytest.raises(UsageError, match="None of the 2 files can be read as an image"):
        predict_job.predict(folder, small_weights, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_box_without_area_is_no_object() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [64, 3, 64, 9], [3, 5, 9, 5.04], [2, 2, 2.2, 2.2]])
    found = ImageDetections(0, boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([0, 1, 0, 1]))
    assert found.with_area().boxes.tolist() == boxes[[0, 3]].tolist()
