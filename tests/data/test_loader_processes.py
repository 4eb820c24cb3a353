"""Loader processes: what they hand over, and how they end."""

import multiprocessing
import os
import signal
import subprocess
import time

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from yolab.data.batch import to_batch
from yolab.data.loader_processes import Loader
from yolab.errors import YolabError
from yolab.signals import STOP_SIGNALS


class Batches(Dataset):
    """Sixteen batches of two images, in channels-last memory, with a mask; one that is asked for kills its process."""

    def __init__(self, deadly: int | None = None) -> None:
        self.deadly = deadly

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        images = [np.full((128, 128, 3), 2 * index + number, np.uint8) for number in range(2)]
        return to_batch(images), torch.arange(index) > 2, torch.ones(2, 0, 4)


def loader(processes: int, **settings: object) -> Loader:
    return Loader(Batches(**settings), processes, batch_size=None)


def test_batches_come_as_they_are_made_and_need_no_shared_memory(monkeypatch):
    def no_room(storage: torch.UntypedStorage) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", no_room)  # the processes inherit it
    made = Batches()
    for index, loaded in enumerate(loader(2)):
        for own, theirs in zip(made[index], loaded, strict=True):
            assert torch.equal(own, theirs)
            assert own.stride() == theirs.stride()
            theirs.zero_()


@pytest.mark.parametrize("told", [signal.SIGINT, *STOP_SIGNALS])
def test_a_signal_that_stops_the_job_is_for_the_main_process_alone(told):
    batches = iter(loader(2))
    processes = [str(process.pid) for process in multiprocessing.active_children()]
    subprocess.run(["kill", f"-{told.value}", *processes], check=True)  # not this process itself, which may end them
    assert len(list(batches)) == 16


def test_the_main_process_can_end_them():
    batches = iter(loader(1))
    next(batches)
    [process] = multiprocessing.active_children()
    process.terminate()
    process.join(5)
    assert process.exitcode == 0


def test_the_death_of_one_is_told_in_a_sentence():
    with pytest.raises(YolabError, match=r"A process that loads images died.*lower compute.loader_processes"):
        list(loader(2, deadly=9))


def test_a_batch_whose_fetch_is_interrupted_leaves_no_traceback_of_the_process_that_made_it(capfd, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    batches = iter(loader(1))
    monkeypatch.setattr("multiprocessing.connection.answer_challenge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    time.sleep(1.0)  # for the other process to notice
    del batches
    assert "Traceback" not in capfd.readouterr().err
