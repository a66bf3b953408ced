"""Noise that is held."""

from __future__ import annotations

import torch

from cappuccino.rl.exploration import HELD_BARS, draw, go_on


def test_noise_is_held_for_whole_accounts_about_as_long_as_promised() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = draw(generator, (50, 40, 3))
    following = go_on(generator, noise)
    kept = following == noise
    assert torch.equal(kept.any(dim=2), kept.all(dim=2))
    assert abs((~kept).double().mean().item() - 1 / HELD_BARS) < 0.02


def test_held_noise_stays_standard_normal() -> None:
    generator = torch.Generator().manual_seed(1)
    noise = draw(generator, (50, 40, 3))
    for _ in range(30):
        noise = go_on(generator, noise)
    assert abs(noise.mean().item()) < 0.05
    assert abs(noise.std().item() - 1) < 0.05
