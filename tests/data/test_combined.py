"""Several data sets as one, and classes renamed, merged, dropped, repeated."""

import numpy as np
import pytest

from tests.data.conftest import Tiny
from yolab.data import coco
from yolab.data.combined import repeat_factors, training_set, validation_set, with_classes
from yolab.errors import UsageError
from yolab.experiment import build


def data_of(tiny: Tiny, **changes: object):
    described = {"name": "x", "data": {"path": str(tiny.root), "train": "train", "val": "val", **changes}}
    return build(described, {}, "test").data


def test_a_class_is_renamed_and_keeps_its_coco_id(tiny: Tiny) -> None:
    dataset = with_classes(coco.load(tiny.root, "train"), ["cat=tiger"])
    assert (dataset.names, dataset.category_ids) == (("dog", "tiger"), (2, 7))
    assert dataset.samples[0].classes.tolist() == [0, 1]


def test_classes_are_merged_in_what_is_learned_and_in_what_is_scored(tiny: Tiny) -> None:
    dataset = with_classes(coco.load(tiny.root, "train"), ["cat=animal", "dog=animal"])
    assert (dataset.names, dataset.category_ids) == (("animal",), (2,))
    assert dataset.samples[0].classes.tolist() == [0, 0]
    assert {annotation["category_id"] for annotation in dataset.truth} == {2}


def test_a_dropped_class_takes_its_objects_with_it(tiny: Tiny) -> None:
    dataset = with_classes(coco.load(tiny.root, "train"), ["dog="])
    assert (dataset.names, dataset.category_ids) == (("cat",), (7,))
    np.testing.assert_array_equal(dataset.samples[0].boxes, [[1, 2, 11, 22]])
    assert [annotation["id"] for annotation in dataset.truth] == [3]


def test_a_dropped_class_takes_its_outlines_with_it(tiny: Tiny) -> None:
    corners = {3: [1, 2, 11, 2, 11, 22, 1, 22], 1: [5.5, 5, 35.5, 5, 35.5, 15]}
    for annotation in tiny.content["train"]["annotations"][:2]:
        annotation["segmentation"] = [corners[annotation["id"]]]
    tiny.write()
    (sample, _) = training_set(data_of(tiny), with_outlines=True).samples
    assert [len(sample.outlines.of(owner)[0]) for owner in (0, 1)] == [3, 4]  # in the order of their ids
    (sample, _) = training_set(data_of(tiny, classes=["dog="]), with_outlines=True).samples
    np.testing.assert_array_equal(sample.outlines.of(0)[0].ravel(), corners[3])
    assert training_set(data_of(tiny)).samples[0].outlines is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("cow=ox", "no class 'cow'. Known: cat, dog."),
        ("caat=ox", "Did you mean cat"),
        ("cat", "write old=new"),
        ("dog=", None),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(tiny: Tiny, change: str, told: str | None) -> None:
    changes = [change] if told else ["dog=", "cat="]
    with pytest.raises(UsageError, match=told or "drops every class"):
        with_classes(coco.load(tiny.root, "train"), changes)


def test_several_data_sets_are_one_under_the_classes_of_all(tiny: Tiny, tmp_path) -> None:
    other = Tiny(tmp_path / "other")
    for content in other.content.values():
        content["categories"][0]["name"] = "bird"
    other.write()
    data = data_of(tiny, also=[str(other.root)])
    joined, scored = training_set(data), validation_set(data)
    assert joined.names == scored.names == ("dog", "cat", "bird")
    assert scored.category_ids == (2, 7, 8)
    assert [sample.path.parent for sample in joined.samples] == [tiny.folder("train")] * 2 + [other.folder("train")] * 2
    assert [sample.classes.tolist() for sample in joined.samples] == [[0, 1], [], [0, 2], []]
    assert [sample.classes.tolist() for sample in scored.samples] == [[0, 1], []]


def test_images_with_rare_classes_are_repeated(tiny: Tiny) -> None:
    dataset = coco.load(tiny.root, "train")  # one image with both classes, one with none
    np.testing.assert_allclose(repeat_factors(dataset, 1.0), [2**0.5, 1])
    np.testing.assert_array_equal(repeat_factors(dataset, 0.5), [1, 1])
    np.testing.assert_array_equal(repeat_factors(dataset, 0.0), [1, 1])
