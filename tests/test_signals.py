"""What is told to stop, and when it hears of it."""

import errno
import signal
import threading
from collections.abc import Iterator

import pytest

from yolab.errors import is_interruption
from yolab.signals import answered_afterwards, first_noted


@pytest.fixture(autouse=True)
def answers() -> Iterator[None]:
    """Answer Ctrl-C as Python does, also where whoever runs the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def raised(broken_off: BaseException, *stumbled: Exception) -> BaseException:
    """Return what comes out of code that is broken off, and then stumbles so often while it cleans up."""
    try:
        try:
            raise broken_off
        finally:
            for error in stumbled:
                raise error
    except BaseException as error:
        return error


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (raised(KeyboardInterrupt()), True),
        (raised(KeyboardInterrupt(), OSError(errno.EBADF, "closed twice")), True),
        (raised(raised(KeyboardInterrupt(), OSError()), RuntimeError()), True),
        (raised(ValueError(), OSError()), False),
        (raised(OSError()), False),
    ],
)
def test_an_error_in_cleaning_up_after_an_interruption_is_the_interruption(error, is_one):
    assert is_interruption(error) is is_one


def told(by: threading.Thread, *, fails: bool) -> list[str]:
    """Return what was done of a block in which a thread takes Ctrl-C, and which fails after it, or not."""
    done = []
    try:
        with answered_afterwards([signal.SIGINT]):
            by.start()
            by.join()
            done.append("all of it")
            if fails:
                raise ValueError
    except KeyboardInterrupt:
        done.append("interrupted")
    return done


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_told_inside_a_block_is_answered_at_its_end_whichever_thread_takes_it(fails):
    by = threading.Thread(target=signal.raise_signal, args=[signal.SIGINT])
    assert told(by, fails=fails) == ["all of it", "interrupted"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with answered_afterwards([signal.SIGHUP]):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_a_further_ctrl_c_answered(number):
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with first_noted() as told:
            assert not told()
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGTERM)  # schedulers tell twice
            assert told()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        for each, answer in before.items():
            signal.signal(each, answer)


def test_outside_the_main_thread_nothing_is_noted():
    said = []

    def work() -> None:
        with first_noted() as told:
            said.append(told())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == [False]
