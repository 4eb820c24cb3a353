"""The processes that load batches beside the one that works with them."""

import mmap
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.reduction import DupFd, ForkingPickler
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from yolab.errors import YolabError
from yolab.memory import keep_freed_memory
from yolab.signals import STOP_SIGNALS, answered_as_before, held_back

_SMALL = 1 << 16  # bytes, to send as they are
_DIED = ("DataLoader worker (pid", "Pin memory thread exited")  # as torch says it
_LOST = (ConnectionError, FileNotFoundError, EOFError)  # where a process can't be asked any more for what it announced


class Loader(DataLoader):
    """torch's loader, with so many `processes`: a signal that stops the job is for the main process alone, and batches
    need no room in /dev/shm, of which Docker gives 64 MiB.

    While it is iterated over it raises YolabError if one of the processes dies.
    """

    def __init__(self, dataset: TorchDataset, processes: int, **settings: Any) -> None:
        super().__init__(dataset, num_workers=processes, worker_init_fn=_begin, **settings)
        if processes:  # OpenCV's threads don't survive a fork: who inherits their pool would wait for them forever
            cv2.setNumThreads(1)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch calls it by its own iterator's name
        # torch would raise the death of a process wherever the main thread is then
        with held_back((signal.SIGINT, *STOP_SIGNALS)), answered_as_before((signal.SIGCHLD,)):
            batches = super().__iter__()
        return _with_deaths_told(batches)


def _with_deaths_told(batches: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from batches
    except (RuntimeError, OSError, EOFError) as error:
        if not isinstance(error, _LOST) and not str(error).startswith(_DIED):
            raise
        raise YolabError(
            "A process that loads images died. Most often memory is short: lower compute.loader_processes or "
            "compute.image_cache_gib."
        ) from error


def _begin(number: int) -> None:
    keep_freed_memory()
    sys.excepthook = _tell_unless_broken_off
    if sys.platform == "linux":  # others have no such memory, and Docker's limit is not theirs
        ForkingPickler.register(Tensor, _handed_over)
        threading.Thread(target=_leave_when_told, daemon=True).start()


def _tell_unless_broken_off(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what goes wrong while a batch is handed over, but for an end of the main process, which is interrupted."""
    if not issubclass(kind, _LOST):
        sys.__excepthook__(kind, error, trace)


def _leave_when_told() -> None:
    """Wait for the main process to end this one, as torch and Python do with those that are left over."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _handed_over(tensor: Tensor) -> tuple[Any, ...]:
    """Return how a tensor, whose elements fill its memory, is pickled: as memory that the main process maps."""
    elements = tensor.as_strided((tensor.numel(),), (1,)).numpy()
    if tensor.nbytes < _SMALL:
        return _laid_out, (elements, tensor.shape, tensor.stride())
    with open(os.memfd_create("batch"), "wb") as memory:
        memory.write(elements.data)
        memory.flush()
        return _mapped, (DupFd(memory.fileno()), elements.dtype, tensor.shape, tensor.stride())


def _mapped(handle: Any, dtype: np.dtype, shape: torch.Size, strides: tuple[int, ...]) -> Tensor:
    with open(handle.detach(), "rb+") as memory:
        return _laid_out(np.frombuffer(mmap.mmap(memory.fileno(), 0), dtype), shape, strides)


def _laid_out(elements: np.ndarray, shape: torch.Size, strides: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(elements).as_strided(shape, strides)
