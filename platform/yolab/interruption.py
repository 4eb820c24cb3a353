"""SIGTERM, as batch schedulers send it, does what Ctrl-C does: the run stops with its state saved."""

import os
import signal
import threading


def stop_on_sigterm_as_on_ctrl_c() -> None:
    """Answer SIGTERM from now on by SIGINT to this process; without effect outside the main thread."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
