"""What was found out about files that have not changed since, kept in the user's cache folder."""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# File systems count time in steps of up to 2 s: a second change within the step of the first would go unseen.
SETTLED_SECONDS = 2.0


class FilesState:
    """The names, sizes and times of files, and of all in whole folders, as they are when this is made."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = [os.path.abspath(path) for path in paths]
        self.sizes: dict[str, int] = {}  # of regular files, by absolute path
        state, changed_ns = hashlib.sha256(), 0
        for path, status in _files(self.paths):
            # The change time can't be set by hand, unlike the time of modification, which copying may keep.
            state.update(f"{path!r} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
            changed_ns = max(changed_ns, status.st_ctime_ns)
            if stat.S_ISREG(status.st_mode):
                self.sizes[path] = status.st_size
        self.settled = time.time() - changed_ns / 1e9 >= SETTLED_SECONDS
        self.digest = state.hexdigest()


class Remembered:
    """One value about files, good as long as their state is the same.

    Take the state before the value is worked out: a change in between makes the value void. `name` says which question
    the value answers; it must change when the way to answer it changes.
    """

    def __init__(self, name: str, files: FilesState) -> None:
        self._files = files
        self._file = user_cache() / f"{name}-{hashlib.sha256(repr(files.paths).encode()).hexdigest()[:16]}.json"

    def recall(self) -> Any | None:
        """Return the value that was kept for the files as they are, or None."""
        try:
            kept = json.loads(self._file.read_text())
            return kept["value"] if kept["state"] == self._files.digest else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, value: Any) -> None:
        """Keep a value that JSON can hold. A cache that can't be written to costs time, so it is no error."""
        if not self._files.settled:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._file.parent, delete=False) as written:
                json.dump({"state": self._files.digest, "value": value}, written)
            os.replace(written.name, self._file)


def user_cache() -> Path:
    """Return where what is yolab's, and can be had again, is kept for this user."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "yolab"


def _files(paths: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Return every file of the paths in a fixed order; links are followed, since the data may be linked into place."""
    for path in paths:
        for folder, folders, names in os.walk(path, followlinks=True):
            folders.sort()
            for name in sorted(names):
                yield from _file(os.path.join(folder, name))
        if not os.path.isdir(path):
            yield from _file(path)


def _file(path: str) -> Iterator[tuple[str, os.stat_result]]:
    with contextlib.suppress(OSError):
        yield path, os.stat(path)
