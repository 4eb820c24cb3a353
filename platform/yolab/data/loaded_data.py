"""The data of an experiment, loaded once: it goes from the check before a run to all that train on it."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from yolab.data.annotations import annotations_file
from yolab.data.coco import ADVICE, Dataset, dataset_of
from yolab.data.combined import joined, with_classes, with_names
from yolab.data.copies import RemoteSet
from yolab.data.digest import content_digest, digest_of
from yolab.data.split_files import SplitFiles
from yolab.data.verify import check, report
from yolab.errors import UsageError
from yolab.experiment import Data
from yolab.memory import without_garbage_collection
from yolab.storage import is_remote, storage_at

DEPENDS_ON = ("path", "also", "classes", "train", "val", "on_error")  # of an experiment's `data`
Progress = Callable[[str, int, int], None]
SILENT: Progress = lambda what, done, total: None  # noqa: E731


@dataclass(frozen=True)
class Source:
    """A data set of a run: the `splits` of it that are used, with the digest of their content and that of the files of
    their annotations; in which folder the run's driver has it, and where else it can be had, if anywhere."""

    folder: Path
    splits: tuple[str, ...]
    digest: str
    annotations: str
    remote: RemoteSet | None

    def here(self) -> Path:
        """Return the folder in which this machine has it, after it was fetched if need be. Raises UsageError if it
        can't be had, or what can be had is something else."""
        if self.remote is None or (self.folder != self.remote.folder and self._is_there()):
            if not self._is_there():
                raise UsageError(f"There is no {self.folder} here, or it has other annotations than the driver's.")
            return self.folder
        folder = self.remote.here()
        if content_digest(folder, self.splits) != self.digest:
            raise UsageError(
                f"{self.remote} is not what {self.folder} is on the driver: push that (`dvc push`), or restore what is "
                "pinned (`dvc checkout`)."
            )
        return folder

    def _is_there(self) -> bool:
        try:
            return annotations_digest(self.folder, self.splits) == self.annotations
        except OSError:
            return False


@dataclass(frozen=True)
class LoadedData:
    """What is learned from, with outlines, what is scored on, and the digest of the content of both. It is small, and
    pickles as a few large arrays, which the processes of a node can share."""

    train: Dataset
    val: Dataset
    sources: tuple[Source, ...]

    @property
    def digest(self) -> str:
        return "+".join(source.digest for source in self.sources)

    @property
    def skipped(self) -> dict[str, int]:
        """Faults by kind, left out because data.on_error is skip."""
        return dict(Counter(self.train.skipped) + Counter(self.val.skipped))

    def here(self) -> "LoadedData":
        """Return it with its files as this machine has them, see `Source.here`."""
        moved = {source.folder: source.here() for source in self.sources}
        return replace(self, train=self.train.moved(moved), val=self.val.moved(moved))


@without_garbage_collection()
def load(
    data: Data,
    progress: Progress = SILENT,
    remotes: Mapping[str, RemoteSet] = MappingProxyType({}),
) -> LoadedData:
    """Check, digest and load the splits, each from one reading of its JSON; images are decoded and hashed unless that
    is remembered. A data set that isn't here is fetched, if it is in a bucket or in one of the `remotes`, by its path.
    `progress` is called with (what, done, total): images that are decoded, MiB that are fetched.

    Raises UsageError if a split isn't there, can't be used, or is faulty and data.on_error is fail.
    """
    paths = [data.path, *data.also]
    found = [_folder(path, remotes.get(path), progress) for path in paths]
    folders = [Path(folder) for folder, _ in found]
    places = [(folders[0], data.train), (folders[0], data.val), *((root, data.train) for root in folders[1:])]
    splits = {place: SplitFiles(*place) for place in dict.fromkeys(places)}
    for files in splits.values():
        files.require()
    checked = dict(zip(splits, check(list(splits.values()), partial(progress, "Checking the data"))))
    for root in dict.fromkeys(folders) if data.on_error == "fail" else ():
        told = report(root, [found for (folder, _), found in checked.items() if folder == root])
        if not told.ok:
            raise UsageError(f"{told.summary()}\n{ADVICE}")

    def dataset(place: tuple[Path, str], with_outlines: bool) -> Dataset:
        return with_classes(dataset_of(splits[place], checked[place], with_outlines), data.classes)

    train, val = dataset(places[0], True), dataset(places[1], False)
    if (train.names, train.category_ids) != (val.names, val.category_ids):
        raise UsageError(
            f"The categories of {data.train} and {data.val} in {data.path} differ: both must list the same."
        )
    if len(folders) > 1:
        train = joined([train, *(dataset(place, True) for place in places[2:])])
        val = with_names(val, train.names)
    used = [places[:2], *([place] for place in places[2:])]
    sources = [_source([splits[place] for place in each], remote) for each, (_, remote) in zip(used, found)]
    return LoadedData(train, val, tuple(sources))


def annotations_digest(folder: Path, splits: tuple[str, ...]) -> str:
    """Return the digest of the files of annotations. Raises OSError if there is none."""
    return hashlib.sha256(b"".join(_digest_of_file(annotations_file(folder, split)) for split in splits)).hexdigest()


def _digest_of_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _folder(path: str, remote: RemoteSet | None, progress: Progress) -> tuple[Path, RemoteSet | None]:
    """Return where this machine has a data set, and where else it can be had."""
    remote = RemoteSet.packed(storage_at(path)) if is_remote(path) else remote
    if remote and not Path(path).is_dir():
        return remote.here(partial(progress, f"Fetching {path} (MiB)")), remote
    return Path(path), remote


def _source(splits: list[SplitFiles], remote: RemoteSet | None) -> Source:
    root, names = splits[0].root, tuple(files.split for files in splits)
    return Source(root, names, digest_of(splits), annotations_digest(root, names), remote)
