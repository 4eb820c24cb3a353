"""What an experiment learns from and is scored on: one data set or several, their classes renamed, merged or dropped,
rare ones repeated."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from yolab.data import coco
from yolab.data.coco import Dataset
from yolab.data.copies import folder_of
from yolab.data.samples import Samples, Truth
from yolab.errors import UsageError
from yolab.experiment import Data, did_you_mean


def training_set(data: Data, with_outlines: bool = False) -> Dataset:
    """Return the training split of `data.path` and of each folder of `data.also`, as one, with the objects' polygons if
    they are wanted. Raises UsageError."""
    sets = [
        with_classes(coco.load(folder_of(folder), data.train, data.on_error, with_outlines), data.classes)
        for folder in (data.path, *data.also)
    ]
    return joined(sets)


def validation_set(data: Data) -> Dataset:
    """Return the validation split of `data.path`, with the classes of all data sets. Raises UsageError."""
    dataset = with_classes(coco.load(folder_of(data.path), data.val, data.on_error), data.classes)
    return with_names(dataset, training_set(data).names) if data.also else dataset


def with_classes(dataset: Dataset, changes: Sequence[str]) -> Dataset:
    """Return the data set after changes such as car=vehicle, which renames a class or merges it into another, and car=,
    which drops it; the objects of a dropped one are gone. A class gets the smallest of its former COCO ids.

    Raises UsageError for a change that can't be read, a class that isn't there, or if none is left.
    """
    if not changes:
        return dataset
    new_name = dict(zip(dataset.names, dataset.names))
    for change in changes:
        name, equals, wanted = change.partition("=")
        if not equals:
            raise UsageError(f"data.classes can't have {change!r}: write old=new, or old= to drop a class.")
        if name not in new_name:
            raise UsageError(f"data.classes: {dataset.root} has no class {name!r}.{did_you_mean(name, dataset.names)}")
        new_name[name] = wanted
    names = tuple(dict.fromkeys(new for new in new_name.values() if new))
    if not names:
        raise UsageError(f"data.classes drops every class of {dataset.root}: leave one.")
    ids = {new: min(i for i, old in zip(dataset.category_ids, dataset.names) if new_name[old] == new) for new in names}
    names = tuple(sorted(names, key=lambda name: ids[name]))
    label_of = np.array([names.index(new_name[old]) if new_name[old] else -1 for old in dataset.names])
    id_of = {i: ids.get(new_name[old]) for i, old in zip(dataset.category_ids, dataset.names)}
    return replace(
        dataset,
        samples=dataset.samples.relabelled(label_of),
        category_ids=tuple(ids[name] for name in names),
        names=names,
        truth=dataset.truth.relabelled(id_of),
    )


def repeat_factors(dataset: Dataset, threshold: float) -> np.ndarray:
    """Return (samples,) how often each image is seen in an epoch, 1 at least: √(threshold / share of the images that
    have its rarest class) (Gupta, Dollár, Girshick 2019, LVIS, section 5.1)."""
    samples, classes = dataset.samples, len(dataset.names)
    present = np.unique(samples.image_of_object * classes + samples.classes)  # once an image and class
    counts = np.bincount(present % classes, minlength=classes)
    factor = np.maximum(1, np.sqrt(threshold * len(samples) / np.maximum(1, counts)))
    factors = np.ones(len(samples))
    np.maximum.at(factors, present // classes, factor[present % classes])
    return factors


def joined(sets: Sequence[Dataset]) -> Dataset:
    """Return the samples of all sets under the classes of all, by name, in the order in which they come. What a joined
    one is scored by is left out: image ids of several sets may be the same."""
    if len(sets) == 1:
        return sets[0]
    names = tuple(dict.fromkeys(name for dataset in sets for name in dataset.names))
    whole = [with_names(dataset, names) for dataset in sets]
    skipped = {kind: sum(d.skipped.get(kind, 0) for d in sets) for d in sets for kind in d.skipped}
    return replace(whole[0], samples=Samples.joined([d.samples for d in whole]), truth=Truth.of([]), skipped=skipped)


def with_names(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Return the data set with further classes, of which it has no object; its own keep their COCO ids."""
    known = dict(zip(dataset.names, dataset.category_ids))
    unused = itertools.count(max(dataset.category_ids) + 1)
    ids = tuple(known[name] if name in known else next(unused) for name in names)
    label_of = np.array([list(names).index(name) for name in dataset.names])
    samples = dataset.samples.relabelled(label_of)
    return replace(dataset, samples=samples, category_ids=ids, names=tuple(names))
