"""yolab data …: make, check and pin data sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolab.cli.output import AsJson, ExperimentFile, Overrides, print_table, say, show, terminal
from yolab.jobs import data_job

if TYPE_CHECKING:
    from yolab.jobs.data_job import ImportedSet, PackedSet, Version

app = typer.Typer(help="Make, check and pin data sets.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A data set in COCO layout.")]


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to draw it.")] = Path("data/demo"),
) -> None:
    """Draw the demo set: 304 small images of shapes, byte for byte the same on every machine.

    Example: yolab data demo data/demo
    """
    with terminal() as watcher:
        result = data_job.demo(folder, watcher=watcher)
    say(f"The demo set is in {folder}{'' if result.drawn else ' already'}.")


@app.command()
def coco(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")] = Path("data/coco"),
    test: Annotated[bool, typer.Option("--test", help="The images of test-dev too, for a submission.")] = False,
    mirror: Annotated[
        str | None, typer.Option(help="Where else the published archives are; default: COCO's own server.")
    ] = None,
    pin: Annotated[bool, typer.Option(help="Pin the folder, as `yolab data version --pin` does.")] = True,
    as_json: AsJson = False,
) -> None:
    """Get COCO 2017 (20 GB), check it against the published checksums, pack it, and pin it.

    It is not pinned if the pin of a folder above covers it.

    A download that was interrupted goes on with the same command.

    Example: yolab data coco data/coco
    """
    with terminal() as watcher:
        result = data_job.coco(folder, test=test, mirror=mirror, pin=pin, watcher=watcher)
    show(result, as_json, lambda: _print_packed(result))


@app.command()
def verify(folder: Folder, as_json: AsJson = False) -> None:
    """Check every annotation and decode every image; exit code 2 if there are faults.

    Example: yolab data verify data/demo
    """
    with terminal() as watcher:
        result = data_job.verify(folder, watcher=watcher)
    show(result, as_json, lambda: print(result.report.summary()))


@app.command()
def version(
    folder: Folder,
    check: Annotated[bool, typer.Option("--check", help="Refuse if the content is not what is pinned.")] = False,
    pin: Annotated[bool, typer.Option("--pin", help="Pin what is there now, as `dvc add` does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which version of the data is pinned by DVC, and the digest of what is there.

    Example: yolab data version data/demo --check
    """
    result = data_job.version(folder, check=check, pin=pin)
    show(result, as_json, lambda: _print_version(result))


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="As a labelling tool or YOLO, Pascal VOC or COCO has it.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")],
    layout: Annotated[
        str | None, typer.Option("--format", help="yolo, voc, cvat, labelme or coco; default: what it looks like.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a data set from elsewhere as a folder in COCO layout.

    Example: yolab data import ~/datasets/signs data/signs
    """
    with terminal() as watcher:
        result = data_job.import_(source, folder, layout=layout, watcher=watcher)
    show(result, as_json, lambda: _print_imported(result))


@app.command()
def split(
    folder: Folder,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The new folder.")],
    val: Annotated[float, typer.Option(min=0, max=1, help="The share of the images that is held out.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Which images that are.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write a data set of one split as two: train2017, and val2017 of images drawn at random.

    Example: yolab data split data/signs data/signs-split --val 0.1
    """
    result = data_job.split(folder, target, val=val, seed=seed)
    show(result, as_json, lambda: _print_splits(str(result.folder), result.splits))


@app.command()
def pack(
    folder: Folder,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The new folder, or s3://bucket/prefix.")],
    shard_mib: Annotated[int, typer.Option(min=1, max=1024, help="About how large a shard becomes, in MiB.")] = 256,
    as_json: AsJson = False,
) -> None:
    """Write a data set with its images in a few large files, for network disks, DVC and buckets.

    It is used like the other one. Of one in a bucket each machine makes itself a copy: data.path=s3://bucket/signs.

    Example: yolab data pack data/signs data/signs-packed
    """
    with terminal() as watcher:
        result = data_job.pack(folder, target, shard_mib=shard_mib, watcher=watcher)
    show(result, as_json, lambda: _print_packed(result))


@app.command("show")
def show_(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="The picture to save.")] = Path("augmented.jpg"),
    most: Annotated[int, typer.Option(min=1, help="How many images.")] = 16,
    epoch: Annotated[int, typer.Option(min=1, help="Of which epoch; mosaic may end before the last.")] = 1,
) -> None:
    """Save a sheet of training images as the model sees them, with their boxes.

    Example: yolab data show bccd data.augment.rotate=30 --output sheet.jpg
    """
    sheet = data_job.show(experiment, overrides, output=output, most=most, epoch=epoch)
    say(f"{sheet.images} images of epoch {sheet.epoch}: {sheet.path}")


def _print_packed(result: "PackedSet") -> None:
    rows = [[split, packed.images, packed.shards] for split, packed in result.splits.items()]
    print_table(str(result.folder), ["split", "images", "shards"], rows)


def _print_version(result: "Version") -> None:
    print_table(str(result.folder), ["what", "value"], [list(row) for row in result.document().items()])
    if result.pinned is None:
        say(f"Not pinned: `yolab data version {result.folder} --pin` does it.")


def _print_splits(title: str, splits: dict[str, dict[str, int]]) -> None:
    print_table(title, ["split", "images", "objects"], [[name, *counts.values()] for name, counts in splits.items()])


def _print_imported(result: "ImportedSet") -> None:
    _print_splits(f"{result.folder}, {len(result.classes)} classes", result.splits)
    for note in result.notes:
        say(note)
    say(f"Check it: yolab data verify {result.folder}")
