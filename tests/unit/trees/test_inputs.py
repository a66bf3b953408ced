import numpy as np
import pytest

from cappuccino.trees.inputs import Column, Sight, changes_within, columns, rows

FEATURES = np.random.default_rng(1).normal(size=(90, 3, 2)).astype(np.float32)


def test_a_row_holds_values_changes_the_market_and_the_symbol() -> None:
    features = np.array([[[1.0], [10.0]], [[3.0], [30.0]]], dtype=np.float32)
    seen = rows(features, 1, 2, Sight(2, sees_market=True, knows_symbol=True))
    assert [str(column) for column in columns(("rsi",), Sight(2, True, True))] == [
        "rsi:now",
        "rsi:change_1",
        "rsi:market",
        "symbol:now",
    ]
    # 30 - 10, and the mean of 3 and 30
    assert seen.tolist() == [[3.0, 2.0, 16.5, 0.0], [30.0, 20.0, 16.5, 1.0]]


def test_changes_reach_no_further_back_than_the_lookback() -> None:
    assert [changes_within(n) for n in (2, 4, 5, 17, 200)] == [(1,), (1,), (1, 4), (1, 4, 16), (1, 4, 16, 64)]
    assert columns(("a", "b"), Sight(2, False, False))[2:] == (Column("a", "change_1"), Column("b", "change_1"))


@pytest.mark.parametrize("sight", [Sight(17, m, k) for m in (False, True) for k in (False, True)])
def test_every_column_has_a_name(sight: Sight) -> None:
    assert rows(FEATURES, 16, 17, sight).shape == (3, len(columns(("a", "b"), sight)))


def test_a_row_has_the_same_bits_whatever_is_asked_for_beside_it() -> None:
    whole = rows(FEATURES, 69, 90, Sight(70, True, True))
    alone = np.concatenate([rows(FEATURES[: t + 1], t, t + 1, Sight(70, True, True)) for t in range(69, 90)])
    assert alone.tobytes() == whole.tobytes()


def test_a_row_without_its_lookback_is_refused() -> None:
    with pytest.raises(ValueError, match="with a lookback of 5"):
        rows(FEATURES, 3, 10, Sight(5, True, False))
