"""Noise that is held."""

from __future__ import annotations

import torch

from cappuccino.rl.exploration import HELD_BARS, held_noise


def noise(n_steps: int) -> torch.Tensor:
    return held_noise(torch.Generator().manual_seed(0), n_steps, (50, 40, 3))


def test_noise_is_held_for_whole_accounts_about_as_long_as_promised() -> None:
    before, following = noise(2)
    kept = following == before
    assert torch.equal(kept.any(dim=2), kept.all(dim=2))
    assert abs((~kept).double().mean().item() - 1 / HELD_BARS) < 0.02


def test_held_noise_stays_standard_normal() -> None:
    last = noise(40)[-1]
    assert abs(last.mean().item()) < 0.05
    assert abs(last.std().item() - 1) < 0.05


def test_noise_is_renewed_again_and_again() -> None:
    """Of 40 bars, an account's noise has on average about 1 + 39 / HELD_BARS values."""
    n_values = 1 + (noise(40)[1:] != noise(40)[:-1]).any(dim=-1).double().sum(dim=0).mean().item()
    assert abs(n_values - (1 + 39 / HELD_BARS)) < 0.2
