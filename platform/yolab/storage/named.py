"""Places by what people call them."""

import os
import re
from pathlib import Path

from yolab.errors import UsageError
from yolab.storage.bucket import Bucket
from yolab.storage.folder import Folder
from yolab.storage.place import Storage

DEFAULT = "runs"
VARIABLE = "YOLAB_STORAGE"


def storage_at(place: str | Path | Storage | None = None) -> Storage:
    """Return the place that is named, a folder or `s3://bucket/prefix`; None: YOLAB_STORAGE, else `runs` here. Raises
    UsageError for a place that can't be used."""
    if isinstance(place, Storage):
        return place
    named = str(place or os.environ.get(VARIABLE) or DEFAULT)
    scheme = re.match(r"([A-Za-z][\w+.-]*)://", named)
    kind, rest = (scheme[1].lower(), named[scheme.end() :]) if scheme else ("file", named)
    if kind == "s3":
        return Bucket.named(rest)
    if kind != "file":
        raise UsageError(f"The storage can't be {named}: {kind} is not supported. Name a folder, or s3://….")
    path = Path(os.path.abspath(rest))
    if path.exists() and not path.is_dir():
        raise UsageError(f"The storage can't be {named}: it is a file. Name a folder.")
    return Folder(path)


def is_remote(where: str) -> bool:
    """Return whether a name is that of a place elsewhere, such as s3://bucket/prefix, and no path."""
    return "://" in where


def local_file(where: str, scratch: Path) -> Path:
    """Return a file of a storage, by its whole name, as a local one; what has to be fetched for that goes into
    `scratch`. Raises FileNotFoundError."""
    folder, _, name = where.rpartition("/")
    return storage_at(folder).local(name, scratch) if is_remote(where) else Path(where)
