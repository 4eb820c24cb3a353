"""Who works on a place: one command at a time, which gives a sign of life as long as it does."""

import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from yolab.errors import UsageError, YolabError
from yolab.polling import every_second
from yolab.storage.place import Storage

_BEAT_SECONDS = 2.0
_WAIT_SECONDS = 0.5
_ALIVE_SECONDS = 15.0  # without a sign of life, before its command counts as killed


class TakenOverError(YolabError):
    """Who held a place was away for so long that another one took it over."""


class Hold:
    """The hold that one command may have on the place of a run, a sweep or a table, or on what the `mark` is for."""

    def __init__(self, place: Storage, mark: str = "alive") -> None:
        self.place, self._mark = place, mark
        self._own = f"{platform.node()} {os.getpid()} {secrets.token_hex(4)}".encode()
        self.lost = False  # held, until another one took it over
        self._beaten = 0.0

    def is_held(self) -> bool:
        """Return whether somebody works on it."""
        try:
            host, process, *_ = self.place.read(self._mark).decode().split()
            # both by the clock of who keeps the mark: those of two machines may differ
            recent = self.place.now() - self.place.written_at(self._mark) < _ALIVE_SECONDS
        except FileNotFoundError:
            return False
        return recent and (host != platform.node() or _lives(int(process)))

    def require_own(self) -> None:
        """Raise TakenOverError if another one has taken it over from who holds it, here or in the process that this
        hold was sent from: asked before anything is announced that only one may announce."""
        if not self.is_own():
            self.lost = True
            raise TakenOverError(f"Another command has taken {self.place} over: this one leaves it alone.")

    def is_own(self) -> bool:
        """Return whether nobody has taken it over."""
        try:
            return self.place.read(self._mark) == self._own
        except FileNotFoundError:
            return False

    def require_free(self) -> None:
        """Raise UsageError if somebody works on it."""
        if self.is_held():
            raise UsageError(f"Another command works on {self.place}: let it end, or stop it.")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one who works on it inside the block, with a sign of life every other second. Raises UsageError if
        another one does."""
        while not self._taken():
            self.require_free()
        with self._kept():
            yield

    @contextmanager
    def awaited(self, note: Callable[[str], object] | None = None) -> Iterator[None]:
        """As `held`, but wait as long as another one works on it, of which `note` hears."""
        while not self._taken():
            if note:
                note(f"Another command works on {self.place}: this one waits until it has ended.")
                note = None
            time.sleep(_WAIT_SECONDS)
        with self._kept():
            yield

    def _taken(self) -> bool:
        """Take it if nobody has it any more; return whether that went well."""
        if self.place.create(self._mark, self._own):
            return True
        if self.is_held():
            return False
        self.place.remove(self._mark)  # of a command that was killed
        return self.place.create(self._mark, self._own)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        self.lost = False
        try:
            with every_second(self._beat):
                yield
        finally:
            if not self.lost:
                self.place.remove(self._mark)

    def _beat(self) -> None:
        """Give a sign of life, or notice that another one has the folder: two may find the mark of a killed command at
        the same moment, and who was away for long is taken for dead."""
        if self.lost or time.monotonic() - self._beaten < _BEAT_SECONDS:
            return
        self.lost = not self.is_own()
        if not self.lost:
            self._beaten = time.monotonic()
            self.place.write(self._mark, self._own)


def _lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE  # one that was killed and not yet waited for
    except psutil.NoSuchProcess:
        return False
