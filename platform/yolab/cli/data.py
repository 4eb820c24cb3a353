"""yolab data …: make, check and pin data sets."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yolab.cli.output import JsonOption, console, print_json, print_table, progress_bar
from yolab.errors import UsageError

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
