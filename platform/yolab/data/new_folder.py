"""Folders that appear when they are complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yolab.errors import UsageError


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or where the disk allows none, a copy."""
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write into. It becomes `target` at the end, and is removed if anything is raised.

    Raises UsageError if `target` is there already and is anything but an empty folder.
    """
    target = target.resolve()  # a link to another disk is filled there
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there already: choose another folder, or remove it first.")
    incoming = target.with_name(f"{target.name}.incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    try:
        yield incoming
        incoming.rename(target)
    except BaseException:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
