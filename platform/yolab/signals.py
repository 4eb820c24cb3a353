"""The signals by which a job is told to stop, and who hears them."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # of batch schedulers, and of a terminal that is closed


@contextmanager
def held_back(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Let no such signal through before the end of the block, and never to the processes that are begun in it. A
    scheduler, as a terminal, tells all processes of a job: the helping ones have to live until the state is saved."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # processes inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def answered_as_before(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Let nothing that is done inside the block change how signals are answered after it."""
    answers = {number: signal.getsignal(number) or signal.SIG_DFL for number in signals}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # others can't change it
            for number, answer in answers.items():
                signal.signal(number, answer)


@contextmanager
def answered_afterwards(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Let what is told inside the block be answered at its end, so that the block is done whole; only the main thread
    is ever interrupted. A mask can't do this: another thread takes the signal, and Python answers in the main one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []
    try:
        with answered_as_before(signals):
            for number in signals:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, lambda number, _: told.append(number))
            yield
    finally:
        for one in dict.fromkeys(told):
            signal.raise_signal(one)


@contextmanager
def first_noted() -> Iterator[Callable[[], bool]]:
    """Note the first signal that tells the job to stop instead of answering it, and give what says whether there was
    one. A further Ctrl-C is answered at once; batch schedulers often tell twice. Only the main thread notes any."""
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if told and number == signal.SIGINT:
            raise KeyboardInterrupt
        told.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    signals = [signal.SIGINT, *STOP_SIGNALS]
    with answered_as_before(signals):
        for number in signals:
            if callable(signal.getsignal(number)):  # neither ignored nor left to the system
                signal.signal(number, note)
        yield lambda: bool(told)
