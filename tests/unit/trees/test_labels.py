import math

import numpy as np
import pytest

from cappuccino.trees.labels import MIN_VOLATILITY, forward_log_returns, units

CLOSE = np.array([[100.0], [102.0], [101.0], [104.0], [104.0]])
OPEN = np.array([[99.0], [100.5], [102.5], [101.0], [103.0]])


def test_a_label_is_the_return_from_the_fill_to_the_end_of_the_horizon() -> None:
    # Decided at close 0, filled at open 1, held to close 2.
    found = forward_log_returns(OPEN, CLOSE, 2)
    assert found[:, 0].tolist() == pytest.approx([math.log(101 / 100.5), math.log(104 / 102.5), math.log(104 / 101)])


def test_a_horizon_without_bars_is_refused() -> None:
    with pytest.raises(ValueError, match="a horizon of 5 in 5 bars"):
        forward_log_returns(OPEN, CLOSE, 5)


def test_returns_are_their_own_unit() -> None:
    assert units(CLOSE, 2, 5, 3, 4, "return").tolist() == [[1.0]] * 3


def test_risk_is_the_volatility_of_the_lookback_over_the_horizon() -> None:
    up, down = 102 / 100 - 1, 101 / 102 - 1
    of_a_bar = math.sqrt((up**2 + down**2) / 2)
    assert units(CLOSE, 2, 3, 3, 4, "risk")[0, 0] == pytest.approx(of_a_bar * 2)


def test_a_symbol_that_does_not_move_has_a_smallest_risk() -> None:
    assert units(np.full((5, 1), 7.0), 2, 3, 3, 1, "risk")[0, 0] == MIN_VOLATILITY


def test_a_unit_has_the_same_bits_whatever_is_asked_for_beside_it() -> None:
    close = np.exp(np.random.default_rng(1).normal(size=(60, 3)))
    whole = units(close, 19, 60, 20, 5, "risk")
    alone = np.concatenate([units(close[: t + 1], t, t + 1, 20, 5, "risk") for t in range(19, 60)])
    assert alone.tobytes() == whole.tobytes()


def test_a_unit_without_its_lookback_is_refused() -> None:
    with pytest.raises(ValueError, match="with a lookback of 4"):
        units(CLOSE, 2, 3, 4, 1, "risk")
