"""Where tensors are computed."""

import torch


def choose_device(rank: int = 0) -> torch.device:
    """Return the GPU of a node's process number `rank`, where there is one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", rank % torch.cuda.device_count())
