"""The data of an experiment, loaded once: it goes from the check before a run to all that train on it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yolab.data.coco import ADVICE, Dataset, dataset_of
from yolab.data.combined import joined, with_classes, with_names
from yolab.data.digest import digest_of
from yolab.data.split_files import SplitFiles
from yolab.data.verify import check, report
from yolab.errors import UsageError
from yolab.experiment import Data
from yolab.memory import without_garbage_collection

DEPENDS_ON = ("path", "also", "classes", "train", "val", "on_error")  # of an experiment's `data`


@dataclass(frozen=True)
class LoadedData:
    """What is learned from, with outlines, what is scored on, and the digest of the content of both. It is small, and
    pickles as a few large arrays, which the processes of a node can share."""

    train: Dataset
    val: Dataset
    digest: str

    @property
    def skipped(self) -> dict[str, int]:
        """Faults by kind, left out because data.on_error is skip."""
        return dict(Counter(self.train.skipped) + Counter(self.val.skipped))


@without_garbage_collection()
def load(data: Data, progress: Callable[[int, int], None] | None = None) -> LoadedData:
    """Check, digest and load the splits, each from one reading of its JSON; images are decoded and hashed unless that
    is remembered. `progress` is called with (done, total) images that are decoded.

    Raises UsageError if a split isn't there, can't be used, or is faulty and data.on_error is fail.
    """
    own, *others = (Path(folder) for folder in (data.path, *data.also))
    places = [(own, data.train), (own, data.val), *((root, data.train) for root in others)]
    splits = {place: SplitFiles(*place) for place in dict.fromkeys(places)}
    for files in splits.values():
        files.require()
    checked = dict(zip(splits, check(list(splits.values()), progress)))
    for root in dict.fromkeys((own, *others)) if data.on_error == "fail" else ():
        told = report(root, [found for (folder, _), found in checked.items() if folder == root])
        if not told.ok:
            raise UsageError(f"{told.summary()}\n{ADVICE}")

    def dataset(place: tuple[Path, str], with_outlines: bool) -> Dataset:
        return with_classes(dataset_of(splits[place], checked[place], with_outlines), data.classes)

    train, val = dataset(places[0], True), dataset(places[1], False)
    if (train.names, train.category_ids) != (val.names, val.category_ids):
        raise UsageError(f"The categories of {data.train} and {data.val} in {own} differ: both must list the same.")
    if others:
        train = joined([train, *(dataset(place, True) for place in places[2:])])
        val = with_names(val, train.names)
    digests = [digest_of([splits[place] for place in places[:2]]), *(digest_of([splits[p]]) for p in places[2:])]
    return LoadedData(train, val, "+".join(digests))
