"""yolab gc: what the storage holds that nobody needs any more."""

from typing import Annotated

import typer

from yolab.cli.output import AsJson, StorageOption, print_table, say, show
from yolab.jobs import gc_job


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is only shown.")] = False,
    storage: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Show what nobody needs any more, and remove it if that is said.

    That is the checkpoints of runs that are at their end, whose weights stay, what broken-off writes have left, and
    this machine's copies of data sets that are kept elsewhere.

    Example: yolab gc --yes
    """
    found = gc_job.collect(really=yes, storage=storage)
    show(found, as_json, lambda: _print(found))


def _print(found: "gc_job.Garbage") -> None:
    sizes = found.checkpoints | found.leftovers | found.copies
    if sizes:
        print_table("removed" if found.done else "not needed", ["what", "MiB"], [
            [name, f"{size / 2**20:.1f}"] for name, size in sizes.items()
        ])  # fmt: skip
    told = "Removed" if found.done else "`yolab gc --yes` removes"
    say(f"{told} {found.bytes / 2**20:.1f} MiB." if sizes else "Everything is needed.")
