"""What tells a job to stop, beside Ctrl-C."""

import os
import signal

from yolab.signals import STOP_SIGNALS


def answer_stop_signals() -> None:
    """Let what else tells a job to stop do what Ctrl-C does, from here on."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    """Be interrupted as by Ctrl-C, once, though schedulers may tell twice; a script's background jobs take no notice of
    Ctrl-C, but have to stop when told."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGINT)
