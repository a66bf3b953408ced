"""Which weights an action asks for."""

from __future__ import annotations

import pytest
import torch

from cappuccino.env.wish import Wish

WISH = Wish(max_weight=0.4, cash_reserve=0.2, no_trade_band=0.05)


def asked(wish: Wish, action: list[float], present: list[float]) -> list[float]:
    weights = wish.weights(torch.tensor([action]), torch.tensor([present], dtype=torch.float64))
    return [float(weight) for weight in weights[0]]


@pytest.mark.parametrize(
    ("action", "present", "wanted"),
    [
        ([0.5, -1.0], [0.0, 0.3], [0.2, 0.0]),  # a share of the cap; negative is none
        ([1.0, 1.0], [0.0, 0.0], [0.4, 0.4]),  # 80 % is what the reserve leaves
        ([0.5, 0.5], [0.16, 0.26], [0.16, 0.2]),  # 4 points away is near, 6 are not
        ([0.0, 0.1], [0.01, 0.0], [0.0, 0.0]),  # an exit counts, a tiny entry does not
    ],
)
def test_wanted_weights_by_hand(action: list[float], present: list[float], wanted: list[float]) -> None:
    assert asked(WISH, action, present) == pytest.approx(wanted)


def test_wishes_beyond_the_reserve_shrink_together() -> None:
    wide = Wish(max_weight=1.0, cash_reserve=0.2, no_trade_band=0.0)
    assert asked(wide, [1.0, 0.5], [0.0, 0.0]) == pytest.approx([0.8 * 2 / 3, 0.8 / 3])
