"""Data sets: make, get, convert, check, pin and pack them, and look at them."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from yolab.data import coco_download, copies, formats
from yolab.data import demo as demo_set
from yolab.data import pack as packing
from yolab.data import verify as verification
from yolab.data.annotations import split_names
from yolab.data.combined import training_set
from yolab.data.digest import content_digest
from yolab.data.loader import training_loader
from yolab.data.split import split_data
from yolab.errors import UsageError, YolabError
from yolab.experiment import load
from yolab.jobs.result import Result
from yolab.jobs.watcher import SILENT, Watcher
from yolab.reports.pictures import PICTURES, boxed, save_sheet
from yolab.storage import is_remote, storage_at
from yolab.tracking import data_version

# The content digest of the demo set, which is the same wherever it is drawn: how a whole one is recognised.
DEMO_DIGEST = "978ddc7410f15089a9a7e7b2b4b8e982"
SHARD_MIB = packing.SHARD_BYTES >> 20


@dataclass(frozen=True)
class DemoSet(Result):
    """Where the demo set is; `drawn`: just now, not earlier."""

    folder: Path
    drawn: bool

    def document(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "drawn": self.drawn}


@dataclass(frozen=True)
class PackedSet(Result):
    """A new packed data set, by split; `folder`: where it is, which may be in a bucket."""

    folder: str | Path
    splits: dict[str, packing.Packed]

    def document(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "splits": {split: asdict(packed) for split, packed in self.splits.items()}}


@dataclass(frozen=True)
class ImportedSet(Result):
    """A new data set in COCO layout: its classes, of each split how many images and objects it has, and in sentences
    what was left out, or read in a way that should be known."""

    folder: Path
    classes: tuple[str, ...]
    splits: dict[str, dict[str, int]]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder), "classes": list(self.classes), "notes": list(self.notes)}


@dataclass(frozen=True)
class SplitSet(Result):
    """A new data set of two splits: how many images and objects each has."""

    folder: Path
    splits: dict[str, dict[str, int]]

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder)}


@dataclass(frozen=True)
class Verified(Result):
    """What is wrong with a data set; with faults the exit code is that of wrong usage."""

    report: verification.Report

    @property
    def exit_code(self) -> int:
        return 0 if self.report.ok else UsageError.exit_code

    def document(self) -> dict[str, Any]:
        return self.report.to_json()


@dataclass(frozen=True)
class Version(Result):
    """Which version of a folder DVC pins (`pinned` None: none), and the digest over the splits that are there, None for
    a folder that is no data set itself but holds some."""

    folder: Path
    pinned: data_version.DataVersion | None
    content_digest: str | None

    def document(self) -> dict[str, Any]:
        pin: dict[str, Any] = dict.fromkeys(("md5", "size", "nfiles", "path", "pin_file"))
        if self.pinned:
            pin = asdict(self.pinned) | {"path": str(self.pinned.path), "pin_file": str(self.pinned.pin_file)}
        return {**pin, "content_digest": self.content_digest}


@dataclass(frozen=True)
class Sheet(Result):
    """A picture of `images` training images of one epoch."""

    path: Path
    images: int
    epoch: int

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"path": str(self.path)}


def demo(folder: str | Path = "data/demo", *, watcher: Watcher = SILENT) -> DemoSet:
    """Draw the demo set, byte for byte the same on every machine, unless it is there already. Raises UsageError if
    something else is."""
    folder = Path(folder)
    if _is_demo(folder):
        return DemoSet(folder, drawn=False)
    demo_set.draw(folder, partial(watcher.progress, "Drawing"))
    return DemoSet(folder, drawn=True)


def coco(
    folder: str | Path = "data/coco",
    *,
    test: bool = False,
    mirror: str | None = None,
    pin: bool = True,
    watcher: Watcher = SILENT,
) -> PackedSet:
    """Get COCO 2017 into a new folder, packed; `test`: with the images of test-dev. `pin`: pin it, unless a pin of a
    folder above covers it. `mirror` None: COCO's own server.

    Raises UsageError if the folder is there already or the disk is too small, YolabError if an archive can't be had.
    """
    folder = Path(folder)
    splits = list(coco_download.SPLITS)[: 3 if test else 2]
    packed = coco_download.get(folder, splits, mirror or coco_download.MIRROR, watcher.progress)
    if pin:
        _pin_unless_covered(folder, watcher)
    return PackedSet(folder, packed)


def verify(folder: str | Path, *, watcher: Watcher = SILENT) -> Verified:
    """Check every annotation of a data set and decode every image. Raises UsageError if there is none."""
    return Verified(verification.verify(Path(folder), progress=partial(watcher.progress, "Checking")))


def version(folder: str | Path, *, check: bool = False, pin: bool = False) -> Version:
    """Say which version of a folder is pinned, and the digest of what is there. `pin`: pin that first. `check`: raise
    UsageError if the content is not what is pinned."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: check the path, or make a data set (yolab data --help).")
    if pin:
        data_version.pin(folder)
    if check:
        data_version.check(folder)
    is_set = (folder / "annotations").is_dir()
    digest = content_digest(folder, split_names(folder)) if is_set else None
    return Version(folder, data_version.data_version(folder), digest)


def import_(
    source: str | Path, folder: str | Path, *, layout: str | None = None, watcher: Watcher = SILENT
) -> ImportedSet:
    """Write a data set from elsewhere to a new folder in COCO layout. `layout`: one of `formats.FORMATS`; None: what
    it looks like. Raises UsageError."""
    if layout not in (None, *formats.FORMATS):
        raise UsageError(f"--format can't be {layout!r}: take one of {', '.join(formats.FORMATS)}.")
    written = formats.import_data(Path(source), Path(folder), layout, partial(watcher.progress, "Importing"))
    splits = {split: {"images": images, "objects": objects} for split, (images, objects) in written.splits.items()}
    return ImportedSet(Path(folder), written.names, splits, written.notes)


def split(folder: str | Path, target: str | Path, *, val: float = 0.2, seed: int = 0) -> SplitSet:
    """Write a data set of one split to a new folder, a share `val` of its images as validation. Raises UsageError."""
    parts = split_data(Path(folder), Path(target), val, seed)
    return SplitSet(Path(target), {name: {"images": images, "objects": n} for name, (images, n) in parts.items()})


def pack(folder: str | Path, target: str | Path, *, shard_mib: int = SHARD_MIB, watcher: Watcher = SILENT) -> PackedSet:
    """Write a data set to a new folder, or place in a bucket, with its images in shards of about `shard_mib` MiB.
    Raises UsageError."""
    packing_up = partial(watcher.progress, "Packing")
    if not is_remote(str(target)):
        return PackedSet(Path(target), packing.pack(Path(folder), Path(target), shard_mib << 20, packing_up))
    place = storage_at(target)
    copies.require_unpublished(place)
    with TemporaryDirectory() as scratch:
        packed = packing.pack(Path(folder), Path(scratch, "packed"), shard_mib << 20, packing_up)
        copies.publish(Path(scratch, "packed"), place, partial(watcher.progress, "Sending"))
    return PackedSet(str(place), packed)


def show(
    experiment: str | Path,
    overrides: list[str] | None = None,
    *,
    output: str | Path = "augmented.jpg",
    most: int = 16,
    epoch: int = 1,
) -> Sheet:
    """Save a sheet of at most `most` training images of an epoch (from 1), as the model sees them, with their boxes.
    Raises UsageError."""
    target = Path(output)
    if target.suffix.lower() not in PICTURES:
        raise UsageError(f"{target} must end in {' or '.join(PICTURES)}.")
    run = load(experiment, overrides or [])
    dataset = training_set(run.data, with_outlines=True)
    loader, sampler = training_loader(dataset, run.data, run.recipe.epochs, run.recipe.batch, run.seed, run.compute)
    sampler.epoch = epoch
    keys = [key for batch in sampler for key in batch][:most]
    pictures = []
    for sample in (loader.dataset[key] for key in keys):
        texts = [dataset.names[label] for label in sample.classes]
        pictures.append(boxed(sample.image, sample.boxes, sample.classes, texts, len(dataset.names)))
    target.parent.mkdir(parents=True, exist_ok=True)
    save_sheet(pictures, columns=4, target=target)
    return Sheet(target, len(pictures), epoch)


def _is_demo(folder: Path) -> bool:
    try:
        return content_digest(folder, list(demo_set.IMAGES)) == DEMO_DIGEST
    except UsageError:  # not a data set, or another one
        return False


def _pin_unless_covered(folder: Path, watcher: Watcher) -> None:
    try:
        above = data_version.data_version(folder)
        if above and above.path != folder.resolve():
            told = f"{above.pin_file} pins all of {above.path.name}; `yolab data version {folder} --pin` renews that."
            watcher.note(f"Not pinned: {told}")
        else:
            data_version.pin(folder)
    except YolabError as error:  # the folder is there, which took longer than this
        watcher.note(f"Not pinned: {error}")
