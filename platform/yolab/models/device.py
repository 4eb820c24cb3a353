"""Where tensors are computed."""

import torch

from yolab.errors import UsageError


def choose_device(rank: int = 0) -> torch.device:
    """Return the GPU of a node's process number `rank`, where there is one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", rank % torch.cuda.device_count())


def named_device(name: str | None) -> torch.device:
    """Return the device of a name as torch has it, such as cpu or cuda:1; None: the GPU, where there is one. Raises
    UsageError if it can't be used."""
    if name is None:
        return choose_device()
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):  # what torch raises for names, and for CUDA that it was built without
        raise UsageError(f"The device can't be {name}: take cpu, or cuda:0 where there is such a GPU.") from None
