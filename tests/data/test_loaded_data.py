"""The data of an experiment is read once, and goes to other processes as a few arrays."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import tiny_set
from tests.data.conftest import Tiny
from tests.data.test_combined import data_of
from yolab.data import annotations, coco, combined, loaded_data, outlines
from yolab.data import verify as verification
from yolab.data.annotations import Checked
from yolab.data.digest import content_digest
from yolab.data.images import ImageFolder
from yolab.data.loaded_data import LoadedData
from yolab.data.outlines import Outlines
from yolab.data.samples import Sample, Samples
from yolab.errors import UsageError
from yolab.experiment import build
from yolab.search.search_space import parse

number = st.one_of(st.integers(0, 60), st.floats(0, 60, width=32))
polygon = st.one_of(st.lists(number, min_size=0, max_size=10), st.lists(st.lists(number, min_size=2, max_size=2)))
box = st.tuples(number, number, st.floats(1, 60), st.integers(1, 60)).map(list)


def outline_of(sides: list[float]) -> list[list[float]]:
    x, y, width, height = sides
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


@st.composite
def contents(draw: Any) -> dict[str, Any]:
    """The JSON of a split, sound, in any order, with ids beyond 64 bits and odd polygons among them."""
    images = draw(
        st.lists(st.one_of(st.integers(0, 99), st.integers(2**62, 2**65)), min_size=1, max_size=6, unique=True)
    )
    categories = draw(st.lists(st.integers(1, 90), min_size=1, max_size=4, unique=True))
    boxes = draw(st.lists(box, max_size=12))
    identities = draw(st.lists(st.integers(0, 999), min_size=len(boxes), max_size=len(boxes), unique=True))
    described = []
    for identity, sides in zip(identities, boxes):
        annotation = {"id": identity, "bbox": sides, "image_id": draw(st.sampled_from(images))}
        annotation["category_id"] = draw(st.sampled_from(categories))
        optional = {
            "iscrowd": st.integers(0, 1),
            "area": st.one_of(number, st.just(2**60 + 1), st.none()),
            "segmentation": st.one_of(
                st.just(outline_of(sides)), st.lists(polygon), st.just({"counts": "x"}), st.none()
            ),
        }
        described.append(annotation | draw(st.fixed_dictionaries({}, optional=optional)))
    return {
        "images": [{"id": i, "file_name": f"{i}-é.png", "width": 50, "height": 70} for i in images],
        "annotations": described,
        "categories": [{"id": i, "name": f"class {i}"} for i in categories],
    }


def one_by_one(content: dict[str, Any]) -> list[Sample]:
    """The samples of a JSON, in the plainest way."""
    class_of = {number: place for place, number in enumerate(sorted(c["id"] for c in content["categories"]))}
    samples = []
    for image in sorted(content["images"], key=lambda image: image["id"]):
        own = [a for a in content["annotations"] if a["image_id"] == image["id"] and not a.get("iscrowd")]
        own.sort(key=lambda annotation: annotation["id"])
        boxes = np.array([annotation["bbox"] for annotation in own], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes = boxes.clip(0, [image["width"], image["height"]] * 2).astype(np.float32)
        classes = np.array([class_of[annotation["category_id"]] for annotation in own], np.int64)
        traced = polygons_one_by_one([annotation.get("segmentation") for annotation in own], boxes)
        sides = image["width"], image["height"]
        samples.append(Sample(ImageFolder(Path()), image["file_name"], image["id"], *sides, boxes, classes, traced))
    return samples


def polygons_one_by_one(segmentations: list[Any], boxes: np.ndarray) -> Outlines | None:
    points, lengths, owners = [], [], []
    for owner, (segmentation, sides) in enumerate(zip(segmentations, boxes)):
        try:
            polygons = [np.array(part, np.float32).reshape(-1, 2) for part in segmentation or []]
        except (TypeError, ValueError):
            continue
        polygons = [part for part in polygons if len(part) >= 3]
        whole = np.concatenate(polygons) if polygons else None
        if whole is None:
            continue
        off = np.abs(np.concatenate([whole.min(0), whole.max(0)]) - sides)
        if (off <= np.maximum(2, 0.05 * np.tile(sides[2:] - sides[:2], 2))).all():
            points += polygons
            lengths += [len(part) for part in polygons]
            owners += [owner] * len(polygons)
    return Outlines(np.concatenate(points), np.array(lengths), np.array(owners)) if points else None


def read(content: dict[str, Any]) -> coco.Dataset:
    files = type("Files", (), {"content": content, "images": ImageFolder(Path("set/train")), "split": "train"})
    files.root, files.annotations = Path("set"), Path("set.json")
    return coco.dataset_of(files, Checked(0, 0, ()), with_outlines=True)


def assert_same_arrays(ours: Any, theirs: Any) -> None:
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def assert_same(ours: Sample, theirs: Sample) -> None:
    for name in ("file_name", "image_id", "width", "height"):
        assert getattr(ours, name) == getattr(theirs, name)
        assert type(getattr(ours, name)) is type(getattr(theirs, name))
    assert_same_arrays(ours.boxes, theirs.boxes)
    assert_same_arrays(ours.classes, theirs.classes)
    assert (ours.outlines is None) == (theirs.outlines is None)
    if ours.outlines is not None and theirs.outlines is not None:
        for name in ("points", "lengths", "owners"):
            assert_same_arrays(getattr(ours.outlines, name), getattr(theirs.outlines, name))


@settings(max_examples=300, deadline=None)
@given(content=contents())
def test_samples_and_truth_are_those_read_one_by_one(content):
    dataset, expected = read(content), one_by_one(content)
    for samples in (dataset.samples, Samples.of(dataset.samples), pickle.loads(pickle.dumps(dataset.samples))):
        assert len(samples) == len(expected)
        for ours, theirs in zip(samples, expected):
            assert_same(ours, theirs)
    area_of = lambda a: a["bbox"][2] * a["bbox"][3]  # noqa: E731
    truth = [
        {"area": area_of(a), "iscrowd": 0}
        | {key: value for key, value in a.items() if key != "segmentation" and value is not None}
        for a in sorted(content["annotations"], key=lambda annotation: annotation["id"])
    ]
    assert list(dataset.truth) == list(dataset.truth[:]) == [dataset.truth[i] for i in range(len(truth))] == truth
    images = [{"id": sample.image_id, "width": sample.width, "height": sample.height} for sample in expected]
    assert dataset.ground_truth()["images"] == images


@settings(max_examples=200, deadline=None)
@given(content=contents(), dropped=st.integers(0, 3), parts=st.integers(1, 3))
def test_relabelled_and_joined_samples_are_those_of_one_image_after_the_other(content, dropped, parts):
    samples = read(content).samples
    label_of = np.array([-1 if label == dropped else label + 5 for label in range(4)])
    joined = Samples.joined([samples.relabelled(label_of)] * parts)
    assert len(joined) == parts * len(samples)
    for ours, theirs in zip(joined, [*samples] * parts):
        labels = label_of[theirs.classes]
        kept = labels >= 0
        assert_same_arrays(ours.boxes, theirs.boxes[kept])
        assert_same_arrays(ours.classes, labels[kept])
        left = theirs.outlines.only(kept) if theirs.outlines is not None else None
        assert (ours.outlines is None) == (left is None)
        if left is not None:
            assert_same_arrays(ours.outlines.points, left.points)
            assert_same_arrays(ours.outlines.owners, left.owners)


@settings(max_examples=300, deadline=None)
@given(segmentations=st.lists(st.one_of(st.none(), st.lists(polygon), st.just("12"), st.just([["x"] * 6])), max_size=6))
def test_polygons_read_together_are_those_read_one_by_one(segmentations):
    boxes = np.tile(np.array([5, 5, 50, 50], np.float32), (len(segmentations), 1))
    ours, theirs = outlines.read(segmentations, boxes), polygons_one_by_one(segmentations, boxes)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert all(np.array_equal(getattr(ours, n), getattr(theirs, n)) for n in ("points", "lengths", "owners"))


def test_samples_are_a_sequence_of_read_only_views(tiny: Tiny) -> None:
    samples = coco.load(tiny.root, "train").samples
    assert [s.image_id for s in samples[::-1]] == [20, 10]
    assert samples[-1].image_id == samples[np.int64(1)].image_id == 20
    with pytest.raises(IndexError):
        samples[2]
    assert np.shares_memory(samples[0].boxes, samples.boxes)
    with pytest.raises(ValueError, match="read-only"):
        samples[0].boxes[:] = 0


@pytest.mark.parametrize("images", [2, 400])
def test_loaded_data_pickles_as_a_few_buffers_however_many_images_it_has(tiny: Tiny, images: int) -> None:
    content = tiny.content["train"]
    for identity in range(100, 100 + images):
        content["images"].append({"id": identity, "file_name": "a.jpg", "width": 40, "height": 30})
        traced = {"bbox": [5, 5, 20, 10], "segmentation": outline_of([5, 5, 20, 10])}
        content["annotations"].append({"id": identity, "image_id": identity, "category_id": 2, **traced})
    tiny.write()
    loaded = loaded_data.load(data_of(tiny))
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(loaded, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) < 40
    assert len(stream) < 4096
    again: LoadedData = pickle.loads(stream, buffers=[bytes(buffer.raw()) for buffer in buffers])
    assert (again.digest, again.train.names, again.skipped) == (loaded.digest, loaded.train.names, {})
    for ours, theirs in zip((*again.train.samples, *again.val.samples), (*loaded.train.samples, *loaded.val.samples)):
        assert_same(ours, theirs)
        assert not ours.boxes.flags.writeable
    assert again.val.ground_truth() == loaded.val.ground_truth()


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_each_json_is_parsed_once_and_each_image_decoded_once_and_never_again(
    tiny: Tiny, tmp_path: Path, settled: None, monkeypatch: pytest.MonkeyPatch, on_error: str
) -> None:
    parsed: list[str | bytes] = []
    read_names: list[str] = []
    loads, read_file = annotations.json.loads, ImageFolder.read
    monkeypatch.setattr(annotations.json, "loads", lambda text: parsed.append(text) or loads(text))
    monkeypatch.setattr(ImageFolder, "read", lambda self, name: read_names.append(name) or read_file(self, name))
    data = data_of(tiny, also=[str(Tiny(tmp_path / "other").root)], on_error=on_error)
    first = loaded_data.load(data)
    assert sum(b"bbox" in text for text in parsed if isinstance(text, bytes)) == 3
    assert sorted(read_names) == ["a.jpg"] * 3 + ["b.png"] * 3
    again = loaded_data.load(data)
    assert sum(b"bbox" in text for text in parsed if isinstance(text, bytes)) == 6
    assert len(read_names) == 6, "what is remembered is not decoded or hashed again"
    assert again.digest == first.digest


def test_what_is_loaded_is_what_the_single_functions_give(tiny: Tiny, tmp_path: Path) -> None:
    other = Tiny(tmp_path / "other")
    for content in other.content.values():
        content["categories"][0]["name"] = "bird"
    other.write()
    data = data_of(tiny, also=[str(other.root)], classes=["dog=hound"])
    loaded = loaded_data.load(data)
    for ours, theirs in (
        (loaded.train, combined.training_set(data, True)),
        (loaded.val, combined.validation_set(data)),
    ):
        assert (ours.names, ours.category_ids, ours.skipped) == (theirs.names, theirs.category_ids, theirs.skipped)
        for one, another in zip(ours.samples, theirs.samples, strict=True):
            assert_same(one, another)
        assert ours.ground_truth() == theirs.ground_truth()
    digests = content_digest(tiny.root, ["train", "val"]), content_digest(other.root, ["train"])
    assert loaded.digest == "+".join(digests)


def test_one_split_for_both_is_checked_once_and_has_outlines_to_learn_from_alone(tiny: Tiny) -> None:
    calls: list[tuple[int, int]] = []
    tiny.content["train"]["annotations"][0]["segmentation"] = outline_of([1, 2, 10, 20])
    tiny.write()
    loaded = loaded_data.load(data_of(tiny, val="train"), lambda what, *step: calls.append(step))
    assert calls == [(1, 2), (2, 2)]
    assert loaded.train.samples[0].outlines is not None
    assert loaded.val.samples[0].outlines is None
    assert loaded.digest == content_digest(tiny.root, ["train", "train"])


def test_faults_are_refused_with_all_of_a_data_set_or_skipped_and_counted(tiny: Tiny) -> None:
    tiny.content["train"]["annotations"][0]["bbox"] = [1, 2, 0, 0]
    tiny.content["val"]["annotations"][0]["image_id"] = 99
    tiny.write()
    (tiny.folder("train") / "b.png").write_bytes(b"")
    with pytest.raises(UsageError, match="3 faults in 4 images") as told:
        loaded_data.load(data_of(tiny))
    assert "data.on_error=skip" in str(told.value)
    loaded = loaded_data.load(data_of(tiny, on_error="skip"))
    assert loaded.skipped == {"undecodable_image": 1, "empty_box": 1, "unknown_image": 1}
    assert [len(sample.boxes) for sample in loaded.train.samples] == [1]


def test_categories_that_differ_and_folders_that_are_not_there_are_told(tiny: Tiny) -> None:
    tiny.content["val"]["categories"][0]["name"] = "lion"
    tiny.write()
    with pytest.raises(UsageError, match=r"The categories of train and val in .* differ"):
        loaded_data.load(data_of(tiny))
    with pytest.raises(UsageError, match="has no split 'test'"):
        loaded_data.load(data_of(tiny, val="test"))
    tiny.folder("val").rename(tiny.root / "elsewhere")
    with pytest.raises(UsageError, match="but no images"):
        loaded_data.load(data_of(tiny))


def test_a_change_while_images_are_decoded_is_not_remembered(
    tiny: Tiny, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = verification._decode

    def spoil(image: Any) -> Any:
        found = decode(image)
        if image.files.split == "val":
            (tiny.folder("train") / "a.jpg").write_bytes(b"no image")
        return found

    monkeypatch.setattr(verification, "_decode", spoil)
    loaded_data.load(data_of(tiny))
    monkeypatch.setattr(verification, "_decode", decode)
    with pytest.raises(UsageError, match="undecodable_image"):
        loaded_data.load(data_of(tiny))


def test_all_that_the_data_depends_on_is_shared_by_the_trials_of_a_search(tiny: Tiny) -> None:
    data, asked = data_of(tiny), set()

    class Watched:
        def __getattr__(self, name: str) -> Any:
            asked.add(name)
            return getattr(data, name)

    loaded_data.load(Watched())
    assert asked == set(loaded_data.DEPENDS_ON)
    base = build({}, tiny_set.experiment(tiny.root), "test")
    for name in asked:
        with pytest.raises(UsageError, match="all trials share it"):
            parse({f"data.{name}": {"choice": [getattr(data, name)]}}, base, "test")
