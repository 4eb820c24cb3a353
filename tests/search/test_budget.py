"""When a sweep has to stop."""

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from yolab.errors import UsageError
from yolab.search.budget import Budget, ask_to_stop, is_running, require_free, watched
from yolab.search.sweep_folder import Events


def test_a_limit_is_told_when_it_is_reached():
    assert Budget().spent(1e9, 10**9, 1e9) is None
    assert Budget(hours=2).spent(2.0, 0, 0) == "--max-hours 2 is reached"
    assert Budget(trials=3).spent(0, 3, 0) == "--max-trials 3 is reached"
    assert Budget(cost=10, price=2.5).spent(0, 0, 3.9) is None
    assert Budget(cost=10, price=2.5).spent(0, 0, 4.0) == "--max-cost 10 is reached"
    with pytest.raises(UsageError, match="--price"):
        Budget(cost=1)


def stopped(folder: Path, budget: Budget, work: Callable[[], None]) -> list[str]:
    """Work, then wait to be told to stop, as by Ctrl-C, for five seconds at most; return why."""
    with watched(folder, budget, devices=2) as why, contextlib.suppress(KeyboardInterrupt):
        work()
        for _ in range(50):
            time.sleep(0.1)
    return why


def end_trials(folder: Path, *names: str, seconds: float = 1.0) -> None:
    for name in names:
        Events(folder).append({"trial": name, "state": "finished", "time_total_s": seconds})


def test_only_what_this_command_spends_counts(tmp_path):
    end_trials(tmp_path, "earlier", seconds=10**6)
    assert stopped(tmp_path, Budget(trials=2), lambda: end_trials(tmp_path, "a", "b")) == ["--max-trials 2 is reached"]
    dear = Budget(cost=1, price=1)
    assert stopped(tmp_path, dear, lambda: end_trials(tmp_path, "c", seconds=3600)) == ["--max-cost 1 is reached"]


def test_another_command_can_ask_it_to_stop_and_none_can_begin_beside_it(tmp_path):
    def ask() -> None:
        while not is_running(tmp_path):
            time.sleep(0.05)
        with pytest.raises(UsageError, match="Another command works on"):
            require_free(tmp_path)
        ask_to_stop(tmp_path)

    assert stopped(tmp_path, Budget(), ask) == ["it was asked to by --stop"]
    assert not is_running(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_command_is_no_hindrance(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / "alive").write_text(f"{platform.node()} {killed.pid}")
    assert is_running(tmp_path)
    killed.kill()
    while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    assert not is_running(tmp_path)
    killed.communicate()
    assert not is_running(tmp_path)
    (tmp_path / "alive").write_text("another-node 1")
    assert is_running(tmp_path)
    os.utime(tmp_path / "alive", (0, 0))
    assert not is_running(tmp_path)


def test_nothing_interrupts_what_has_ended(tmp_path):
    with watched(tmp_path, Budget(trials=1), 1) as why:
        Events(tmp_path).append({"trial": "a", "state": "finished"})
    time.sleep(0.2)
    assert why == []
