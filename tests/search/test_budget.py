"""When a sweep has to stop."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from yolab.errors import UsageError
from yolab.search.budget import Budget, Stop, watched
from yolab.search.sweep_folder import SweepFolder
from yolab.storage import Folder


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(Folder(tmp_path))


def test_a_limit_is_told_when_it_is_reached():
    assert Budget().spent(1e9, 10**9, 1e9) is None
    assert Budget(hours=2).spent(2.0, 0, 0) == "--max-hours 2 is reached"
    assert Budget(trials=3).spent(0, 3, 0) == "--max-trials 3 is reached"
    assert Budget(cost=10, price=2.5).spent(0, 0, 3.9) is None
    assert Budget(cost=10, price=2.5).spent(0, 0, 4.0) == "--max-cost 10 is reached"
    with pytest.raises(UsageError, match="needs --price"):
        Budget(cost=1)
    with pytest.raises(UsageError, match="does nothing without --max-cost"):
        Budget(price=1)


def test_trials_that_take_turns_can_not_be_fewer_at_a_time():
    Budget(concurrent=2).check_scheduler("asha")
    with pytest.raises(UsageError, match="--max-concurrent does nothing with --scheduler pbt"):
        Budget(concurrent=2).check_scheduler("pbt")


def stopped(folder: SweepFolder, budget: Budget, work: Callable[[], None]) -> list[Stop]:
    """Work, then wait for the sign to stop, or for Ctrl-C, for five seconds at most; return why."""
    with folder.held(), watched(folder, budget, 2, never) as why, contextlib.suppress(KeyboardInterrupt):
        work()
        wait_for_sign(folder)
    return why


def never() -> bool:
    return False


def wait_for_sign(folder: SweepFolder) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not folder.stop_sign.is_up():
        time.sleep(0.1)
    time.sleep(1.5 if folder.stop_sign.is_up() else 0)  # for who watches to see it


def end_trials(folder: SweepFolder, *names: str, seconds: float = 1.0) -> None:
    for name in names:
        folder.append({"trial": name, "state": "finished", "time_total_s": seconds})


def test_only_what_this_command_spends_counts(folder):
    end_trials(folder, "earlier", seconds=10**6)
    assert stopped(folder, Budget(trials=2), lambda: end_trials(folder, "a", "b")) == [
        Stop("--max-trials 2 is reached", interrupted=False)
    ]
    dear = Budget(cost=1, price=1)
    assert stopped(folder, dear, lambda: end_trials(folder, "c", seconds=3600)) == [
        Stop("--max-cost 1 is reached", interrupted=False)
    ]


def test_another_command_can_ask_it_to_stop_and_none_can_begin_beside_it(folder):
    def ask() -> None:
        while not folder.is_running():
            time.sleep(0.05)
        with pytest.raises(UsageError, match="Another command works on"):
            folder.require_free()
        folder.ask_to_stop()

    assert stopped(folder, Budget(), ask) == [Stop("it was asked to by `yolab sweep stop`", interrupted=True)]
    assert not folder.is_running()
    assert folder.place.names() == []


def test_a_reason_is_told_however_soon_the_trials_leave_for_it(folder):
    with folder.held(), watched(folder, Budget(), 1, never) as why:
        folder.ask_to_stop()
    assert why == [Stop("it was asked to by `yolab sweep stop`", interrupted=True)]


def test_a_budget_holds_whatever_becomes_of_the_display(folder):
    def broken() -> None:
        raise BrokenPipeError

    with folder.held(), watched(folder, Budget(trials=1), 1, never, broken) as why:
        end_trials(folder, "a")
        wait_for_sign(folder)
    assert why == [Stop("--max-trials 1 is reached", interrupted=False)]


def test_who_presses_ctrl_c_has_the_trials_leave_and_nothing_else_to_blame(folder):
    with folder.held(), watched(folder, Budget(), 1, told=lambda: True) as why:
        wait_for_sign(folder)
        assert folder.stop_sign.is_up()
    assert why == []


def test_trials_that_do_not_leave_are_interrupted(folder, monkeypatch):
    monkeypatch.setattr("yolab.storage.stop_sign._LEAVE_SECONDS", 0.0)
    with folder.held(), pytest.raises(KeyboardInterrupt), watched(folder, Budget(trials=0), 1, never) as why:
        time.sleep(5)
    assert [stop.reason for stop in why] == ["--max-trials 0 is reached"]


def test_who_is_taken_for_dead_stops(folder):
    def take_over() -> None:
        folder.place.write("alive", b"another-node 1")

    assert stopped(folder, Budget(), take_over) == [Stop("another command has taken it over", interrupted=True)]
    assert folder.is_running()
