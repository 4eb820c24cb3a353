"""Who works on a place: one command at a time, which gives a sign of life as long as it does."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from yolab.errors import UsageError
from yolab.polling import every_second
from yolab.storage.place import Storage

_MARK = "alive"
_BEAT_SECONDS = 2.0
_ALIVE_SECONDS = 15.0  # without a sign of life, before its command counts as killed


class Hold:
    """The hold that one command may have on the folder of a run, a sweep or a table."""

    def __init__(self, place: Storage) -> None:
        self.place = place
        self.lost = False  # held, until another one took it over
        self._beaten = 0.0

    def is_held(self) -> bool:
        """Return whether somebody works on it."""
        try:
            host, _, process = self.place.read(_MARK).decode().partition(" ")
            recent = self.place.age_seconds(_MARK) < _ALIVE_SECONDS
        except FileNotFoundError:
            return False
        return recent and (host != platform.node() or _lives(int(process)))

    def require_free(self) -> None:
        """Raise UsageError if somebody works on it."""
        if self.is_held():
            raise UsageError(f"Another command works on {self.place}: let it end, or stop it.")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one who works on it inside the block, with a sign of life every other second. Raises UsageError if
        another one does."""
        if not self.place.create(_MARK, _own_mark()):
            self.require_free()
            self.place.remove(_MARK)  # of a command that was killed
            if not self.place.create(_MARK, _own_mark()):
                self.require_free()
        self.lost = False
        try:
            with every_second(self._beat):
                yield
        finally:
            if not self.lost:
                self.place.remove(_MARK)

    def _beat(self) -> None:
        """Give a sign of life, or notice that another one has the folder: two may find the mark of a killed command at
        the same moment, and who was away for long is taken for dead."""
        if self.lost or time.monotonic() - self._beaten < _BEAT_SECONDS:
            return
        try:
            self.lost = self.place.read(_MARK) != _own_mark()
        except FileNotFoundError:
            self.lost = True
        if not self.lost:
            self._beaten = time.monotonic()
            self.place.write(_MARK, _own_mark())


def _own_mark() -> bytes:
    return f"{platform.node()} {os.getpid()}".encode()


def _lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE  # one that was killed and not yet waited for
    except psutil.NoSuchProcess:
        return False
