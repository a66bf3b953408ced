"""Where a training computes."""

from __future__ import annotations

import pytest
import torch

from cappuccino.errors import ConfigError
from cappuccino.rl.compute import Compute, choose


def test_what_is_asked_for_is_taken() -> None:
    assert choose("cpu", "float32") == Compute("cpu", "float32")
    assert choose("cpu", "bfloat16").products == torch.bfloat16


def test_half_the_bits_only_where_the_hardware_multiplies_them() -> None:
    has = torch.cpu.get_capabilities()
    native = bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    assert choose("cpu", "auto").precision == ("bfloat16" if native else "float32")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_card_auto_is_the_processor_and_cuda_an_error() -> None:
    assert choose("auto", "float32").device == "cpu"
    with pytest.raises(ConfigError, match=r"training\.device.*'auto' or 'cpu'"):
        choose("cuda", "float32")
