"""Where the numbers are crunched, and how exactly the large matrix products are rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from cappuccino.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Compute:
    """A device and the type of the large matrix products; weights, losses and accounts are never rounded."""

    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def products(self) -> torch.dtype:
        """Type of the factors of large products; sums are kept in float32 by the hardware."""
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.precision]


def choose(device: Device, precision: Precision) -> Compute:
    """Return what this machine does best within the choice.

    `auto` takes CUDA when there is one, and bfloat16 where the hardware multiplies it: elsewhere it is emulated and
    slower than float32. Raises ConfigError when CUDA is asked for and absent.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise ConfigError("training.device is 'cuda', but torch finds no CUDA device; use 'auto' or 'cpu'")
    on_cuda = has_cuda and device != "cpu"
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(on_cuda) else "float32"
    return Compute("cuda" if on_cuda else "cpu", precision)


def _multiplies_bfloat16(on_cuda: bool) -> bool:
    if on_cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
