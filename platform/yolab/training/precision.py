"""The number formats of the forward pass, by what a device computes in."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Precision:
    """`name` is bf16, fp16 or fp32; weights, loss and optimiser stay in fp32."""

    name: str
    device: torch.device

    @classmethod
    def of(cls, wanted: str, device: torch.device) -> "Precision":
        """Return the precision that is wanted; "auto" is bf16 where the device computes in it, fp16 on older GPUs, and
        fp32 else."""
        if wanted != "auto":
            return cls(wanted, device)
        if device.type == "cuda":
            return cls("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16", device)
        has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return cls("bf16" if has_bf16 else "fp32", device)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of the forward pass."""
        return torch.autocast(self.device.type, dtype=_TYPES[self.name], enabled=self.name != "fp32")

    def scaler(self) -> torch.amp.GradScaler:
        """Return what keeps the gradients of fp16 from vanishing; it does nothing for the others."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")
