"""yolab data …: make, check and pin data sets."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from yolab.cli.output import JsonOption, console, print_json, print_table, progress_bar
from yolab.errors import UsageError, YolabError

# The content digest of the demo set, which is the same wherever it is drawn: how a whole one is recognised.
DEMO_DIGEST = "978ddc7410f15089a9a7e7b2b4b8e982"

app = typer.Typer(help="Make, check and pin data sets.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A data set in COCO layout.")]


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to draw it.")] = Path("data/demo"),
) -> None:
    """Draw the demo set: 304 small images of shapes, byte for byte the same on every machine.

    Example: yolab data demo data/demo
    """
    from yolab.data.demo import draw

    if _is_demo(folder):
        console.print(f"The demo set is in {folder} already.", markup=False, soft_wrap=True)
        return
    with progress_bar("Drawing") as bar:
        task = bar.add_task("", total=None)
        draw(folder, lambda done, total: bar.update(task, completed=done, total=total))
    console.print(f"The demo set is in {folder}.", markup=False, soft_wrap=True)


@app.command()
def coco(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")] = Path("data/coco"),
    test: Annotated[bool, typer.Option("--test", help="The images of test-dev too, for a submission.")] = False,
    mirror: Annotated[
        str | None, typer.Option(help="Where else the published archives are; default: COCO's own server.")
    ] = None,
    pin: Annotated[bool, typer.Option(help="Pin the folder, as `yolab data version --pin` does.")] = True,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Get COCO 2017 (20 GB), check it against the published checksums, pack it, and pin it unless a pin of a folder
    above covers it.

    A download that was interrupted goes on with the same command.

    Example: yolab data coco data/coco
    """
    from yolab.data import coco_download
    from yolab.tracking import data_version

    splits = list(coco_download.SPLITS)[: 3 if test else 2]
    with progress_bar("COCO") as bar:
        task = bar.add_task("", total=None)
        packed = coco_download.get(
            folder,
            splits,
            mirror or coco_download.MIRROR,
            lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )
    try:
        above = data_version.data_version(folder)
        if pin and above and above.path != folder.resolve():
            told = f"{above.pin_file} pins all of {above.path.name}; `yolab data version {folder} --pin` renews that."
            console.print(f"Not pinned: {told}", markup=False, soft_wrap=True)
        elif pin:
            data_version.pin(folder)
    except YolabError as error:  # the folder is there, which took longer than this
        console.print(f"Not pinned: {error}", markup=False, soft_wrap=True)
    _print_packed(folder, packed, as_json)


@app.command()
def verify(folder: Folder, as_json: Annotated[bool, JsonOption] = False) -> None:
    """Check every annotation and decode every image; exit code 2 if there are faults.

    Example: yolab data verify data/demo
    """
    from yolab.data.verify import verify as verify_data

    with progress_bar("Checking") as bar:
        task = bar.add_task("", total=None)
        report = verify_data(folder, progress=lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        print_json(report.to_json())
    else:
        print(report.summary())
    if not report.ok:
        raise typer.Exit(UsageError.exit_code)


@app.command()
def version(
    folder: Folder,
    check: Annotated[bool, typer.Option("--check", help="Refuse if the content is not what is pinned.")] = False,
    pin: Annotated[bool, typer.Option("--pin", help="Pin what is there now, as `dvc add` does.")] = False,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Say which version of the data is pinned by DVC, and the digest of what is there.

    Example: yolab data version data/demo --check
    """
    from yolab.tracking import data_version

    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: check the path, or make a data set (yolab data --help).")
    if pin:
        data_version.pin(folder)
    if check:
        data_version.check(folder)
    pinned = data_version.data_version(folder)
    described: dict[str, Any] = dict.fromkeys(("md5", "size", "nfiles", "path", "pin_file"))
    if pinned:
        described = {name: getattr(pinned, name) for name in described}
    described["content_digest"] = _digest(folder)
    if as_json:
        print_json(described)
    else:
        print_table(str(folder), ["what", "value"], [list(row) for row in described.items()])
        if pinned is None:
            console.print(f"Not pinned: `yolab data version {folder} --pin` does it.", markup=False, soft_wrap=True)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="In YOLO's, Pascal VOC's or COCO's layout.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")],
    layout: Annotated[
        str | None, typer.Option("--format", help="yolo, voc or coco; default: what it looks like.")
    ] = None,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Write a data set from elsewhere as a folder in COCO layout.

    Example: yolab data import ~/datasets/signs data/signs
    """
    from yolab.data.formats import FORMATS, import_data

    if layout not in (None, *FORMATS):
        raise UsageError(f"--format can't be {layout!r}: take one of {', '.join(FORMATS)}.")
    with progress_bar("Importing") as bar:
        task = bar.add_task("", total=None)
        written = import_data(source, folder, layout, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        counts = {split: {"images": i, "objects": o} for split, (i, o) in written.splits.items()}
        print_json({"folder": str(folder), "classes": list(written.names), "splits": counts})
    else:
        rows = [[split, images, objects] for split, (images, objects) in written.splits.items()]
        print_table(f"{folder}, {len(written.names)} classes", ["split", "images", "objects"], rows)
        console.print(f"Check it: yolab data verify {folder}", markup=False, soft_wrap=True)


@app.command()
def pack(
    folder: Folder,
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The new folder.")],
    shard_mib: Annotated[int, typer.Option(min=1, max=1024, help="About how large a shard becomes, in MiB.")] = 256,
    as_json: Annotated[bool, JsonOption] = False,
) -> None:
    """Write a data set with its images in a few large files, for network disks and DVC; it is used like the other one.

    Example: yolab data pack data/signs data/signs-packed
    """
    from yolab.data.pack import pack as pack_data

    with progress_bar("Packing") as bar:
        task = bar.add_task("", total=None)
        packed = pack_data(
            folder, target, shard_mib << 20, lambda done, total: bar.update(task, completed=done, total=total)
        )
    _print_packed(target, packed, as_json)


@app.command()
def show(
    experiment: Annotated[Path, typer.Argument(help="The experiment file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.path=value, as often as wanted.")] = None,
    output: Annotated[Path, typer.Option(help="The picture to save.")] = Path("augmented.jpg"),
    most: Annotated[int, typer.Option(min=1, help="How many images.")] = 16,
    epoch: Annotated[int, typer.Option(min=1, help="Of which epoch; mosaic may end before the last.")] = 1,
) -> None:
    """Save a sheet of training images as the model sees them, with their boxes.

    Example: yolab data show pipelines/experiments/bccd.yaml data.augment.rotate=30 --output sheet.jpg
    """
    from yolab.data.combined import training_set
    from yolab.data.loader import training_loader
    from yolab.experiment import load
    from yolab.reports.drawing import boxed, save_sheet

    run = load(experiment, overrides or [])
    dataset = training_set(run.data, with_outlines=True)
    loader, sampler = training_loader(dataset, run.data, run.recipe.epochs, run.recipe.batch, run.seed, 0)
    sampler.epoch = epoch
    keys = [key for batch in sampler for key in batch][:most]
    pictures = []
    for sample in (loader.dataset[key] for key in keys):
        texts = [dataset.names[label] for label in sample.classes]
        pictures.append(boxed(sample.image, sample.boxes, sample.classes, texts, len(dataset.names)))
    output.parent.mkdir(parents=True, exist_ok=True)
    save_sheet(pictures, columns=4, target=output)
    console.print(f"{len(pictures)} images of epoch {epoch}: {output}", markup=False, soft_wrap=True)


def _print_packed(folder: Path, packed: dict[str, Any], as_json: bool) -> None:
    splits = {split: asdict(written) for split, written in packed.items()}
    if as_json:
        print_json({"folder": str(folder), "splits": splits})
    else:
        rows = [[split, *written.values()] for split, written in splits.items()]
        print_table(str(folder), ["split", "images", "shards"], rows)


def _is_demo(folder: Path) -> bool:
    from yolab.data.demo import IMAGES
    from yolab.data.digest import content_digest

    try:
        return content_digest(folder, list(IMAGES)) == DEMO_DIGEST
    except UsageError:  # not a data set, or another one
        return False


def _digest(folder: Path) -> str | None:
    """Return the digest over all splits; None for a folder that is no data set itself but holds some."""
    from yolab.data.annotations import split_names
    from yolab.data.digest import content_digest

    if not (folder / "annotations").is_dir():
        return None
    return content_digest(folder, split_names(folder))
