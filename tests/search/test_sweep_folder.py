"""What a sweep keeps, and who may work on it."""

import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from yolab.errors import UsageError
from yolab.search.request import SweepRequest
from yolab.search.sweep_folder import EVENTS, SweepFolder, sweeps_in
from yolab.search.trial import TrialState
from yolab.storage import Folder, claim


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(Folder(tmp_path / "search"))


def test_events_survive_a_torn_line(folder):
    folder.append({"trial": "a", "state": "running", "epoch": 1})
    with (folder.place.path / EVENTS).open("a") as file:
        file.write('{"trial": "a", "sta')
    assert folder.rows() == {"a": {"trial": "a", "state": "running", "epoch": 1}}
    folder.append({"trial": "a", "state": "finished"})
    assert folder.rows()["a"] == {"trial": "a", "state": "finished", "epoch": 1}
    assert SweepFolder(folder.place).has_succeeded("a")
    assert folder.ended() == 1


def test_events_of_a_newer_yolab_are_refused_and_those_from_before_versions_read(folder):
    folder.place.write(EVENTS, b'{"trial": "a", "state": "finished"}\n')
    assert folder.has_succeeded("a")
    folder.place.write(EVENTS, b'{"format": 99}\n{"trial": "a", "state": "finished"}\n')
    with pytest.raises(UsageError, match=r"events.jsonl was written by a newer yolab \(its format is 99"):
        SweepFolder(folder.place).rows()


def test_one_of_many_that_begin_at_once_gets_the_folder(folder):
    started, won, lost = threading.Barrier(8), [], []
    done = threading.Event()

    def begin() -> None:
        started.wait()
        try:
            with SweepFolder(folder.place).held():
                won.append(1)
                done.wait(10)
        except UsageError:
            lost.append(1)
            if len(lost) == 7:
                done.set()

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert not folder.is_running()


def test_a_killed_command_is_no_hindrance(folder):
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder.place.write("alive", f"{platform.node()} {killed.pid}".encode())
    assert folder.is_running()
    with pytest.raises(UsageError, match="Another command works on"), folder.held():
        pass
    killed.kill()
    while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    assert not folder.is_running()
    killed.communicate()
    assert not folder.is_running()
    with folder.held():
        assert folder.is_running()
    folder.place.write("alive", b"another-node 1")
    assert folder.is_running()
    os.utime(folder.place.path / "alive", (0, 0))
    assert not folder.is_running()


def test_who_has_lost_the_folder_to_another_notices_and_leaves_it_alone(folder):
    with folder.held():
        folder.hold._beat()
        assert not folder.hold.lost
        folder.place.write("alive", b"another-node 1")
        folder.place.write("stop", b"")
        folder.hold._beaten = 0.0
        folder.hold._beat()
        assert folder.hold.lost
    assert folder.place.names() == ["alive", "stop"]
    assert folder.place.read("alive") == b"another-node 1"


def test_a_sweep_is_finished_when_all_that_was_asked_for_has_ended(folder):
    request = SweepRequest({}, "digest", {}, "random", "asha", ("ap",), 2, 5, 3, 1)
    claim.claim(folder.place, request.work())
    [found] = sweeps_in(Folder(folder.place.path.parent))
    assert found.request() == request
    assert folder.state() is TrialState.STOPPED
    folder.append({"trial": "a", "state": TrialState.FAILED})
    assert folder.state() is TrialState.STOPPED
    folder.append({"trial": "b", "state": TrialState.STOPPED_EARLY})
    assert folder.state() is TrialState.FINISHED  # as of an earlier yolab, which wrote down no end
    with folder.held():
        assert folder.state() is TrialState.RUNNING


@pytest.mark.parametrize("trials", [5, None])
def test_how_a_sweep_ended_is_written_down_whatever_the_number_of_trials_says(trials, folder):
    request = SweepRequest({}, "digest", {}, "random", "asha", ("ap",), trials, 5, 3, 1)
    claim.claim(folder.place, request.work())
    folder.append({"trial": "a", "state": TrialState.FINISHED})
    assert folder.state() is TrialState.STOPPED
    folder.record_end(TrialState.FINISHED)
    assert SweepFolder(folder.place).state() is TrialState.FINISHED
    with folder.held():
        pass
    assert folder.state() is TrialState.STOPPED


def test_a_sweep_of_a_newer_yolab_is_refused_in_words(folder):
    folder.place.write("run.json", b'{"format": 9, "key": "k", "work": {}}')
    with pytest.raises(UsageError, match="was written by a newer yolab"):
        SweepFolder.existing(Folder(folder.place.path.parent), "search")


def test_only_a_claimed_sweep_is_found_and_a_second_claim_refused(folder, tmp_path):
    (tmp_path / "other").mkdir()
    claim.claim(Folder(tmp_path / "table"), {"table": "table3", "budget": "smoke"})
    assert sweeps_in(Folder(tmp_path)) == []
    with pytest.raises(UsageError, match="There is a run or sweep table"):
        claim.claim(Folder(tmp_path / "table"), {})
    with pytest.raises(UsageError, match="There is no sweep search"):
        SweepFolder.existing(Folder(tmp_path), "search")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "\xff", '{"key": 1}', '{"key": "k", "work": 3}', '{"key": "k", "work": {"experiment": {}}}',
     '{"key": "k", "work": {"experiment": 1, "digest": 2, "space": 3, "searcher": 4, "scheduler": 5, "objectives": 6,'
     ' "trials": "7", "grace": 8, "reduction": 9, "retries": 10}}'],
)  # fmt: skip
def test_an_odd_description_of_a_run_is_no_hindrance_to_the_others(tmp_path, content):
    storage = Folder(tmp_path)
    request = SweepRequest({}, "digest", {}, "tpe", "none", ("ap",), 4, 5, 3, 1)
    claim.claim(storage / "sound", request.work())
    (storage / "odd").write(claim.FILE_NAME, content.encode("latin-1"))
    assert [folder.name for folder in sweeps_in(storage)] == ["sound"]
    assert SweepFolder.existing(storage, "sound").request() == request
    with pytest.raises(UsageError, match="is not the folder of a"):
        SweepFolder.existing(storage, "odd")
