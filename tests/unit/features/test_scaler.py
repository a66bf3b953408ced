import json
from typing import Any

import numpy as np
import pytest

from cappuccino.errors import ArtifactError, DataError
from cappuccino.features.scaler import CLIP, Scaler, fit

NAMES, SYMBOLS = ("rsi_14", "cci_20"), ("BTC/USD", "ETH/USD", "LTC/USD")


def values(n_rows: int = 50) -> np.ndarray:
    return np.random.default_rng(3).normal(5, 2, (n_rows, 3, 2))


def test_scaled_training_values_have_mean_zero_and_deviation_one() -> None:
    scaled = fit(values(), NAMES, SYMBOLS).transform(values())
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-5)


def test_rows_of_the_warmup_do_not_count_and_stay_nan() -> None:
    early = np.concatenate([np.full((20, 3, 2), np.nan), values()])
    scaler = fit(early, NAMES, SYMBOLS)
    assert scaler.to_dict() == fit(values(), NAMES, SYMBOLS).to_dict()
    assert np.isnan(scaler.transform(early)[:20]).all()


def test_a_hand_worked_scale() -> None:
    scaler = fit(np.array([1.0, 3.0]).reshape(2, 1, 1), ("x",), ("BTC/USD",))
    assert (scaler.mean.item(), scaler.std.item()) == (2.0, 1.0)
    assert scaler.transform(np.array([[[3.5]]])).item() == 1.5


def test_a_feature_that_never_moved_is_not_blown_up() -> None:
    constant = np.full((9, 1, 1), 0.1)
    scaled = fit(constant, ("x",), ("BTC/USD",)).transform(constant + 0.25)
    assert scaled[0].item() == pytest.approx(0.25)


def test_wild_values_are_cut_off() -> None:
    scaled = fit(values(), NAMES, SYMBOLS).transform(np.stack([values()[0] + 1e9, values()[0] - 1e9]))
    assert (scaled[0] == CLIP).all()
    assert (scaled[1] == -CLIP).all()


def test_a_stored_scaler_comes_back_bit_for_bit() -> None:
    scaler = fit(values(), NAMES, SYMBOLS)
    back = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert np.array_equal(back.mean, scaler.mean)
    assert np.array_equal(back.std, scaler.std)
    assert (back.names, back.symbols) == (NAMES, SYMBOLS)


def test_other_features_or_symbols_are_refused() -> None:
    scaler = fit(values(), NAMES, SYMBOLS)
    scaler.require(NAMES, SYMBOLS)
    with pytest.raises(ArtifactError, match="features rsi_14, cci_20; found cci_20, rsi_14"):
        scaler.require(NAMES[::-1], SYMBOLS)
    with pytest.raises(ArtifactError, match="symbols"):
        scaler.require(NAMES, SYMBOLS[:2])
    with pytest.raises(ArtifactError, match=r"found \(2, 2\)"):
        scaler.transform(values()[:, :2])


@pytest.mark.parametrize(
    "damage",
    [
        {"mean": None},
        {"std": [[0.0, 1.0]] * 3},
        {"std": [[1.0]]},
        {"mean": [[float("nan"), 1.0]] * 3},
        {"names": 4},
    ],
)
def test_a_damaged_scaler_is_refused(damage: dict[str, Any]) -> None:
    stored = {**fit(values(), NAMES, SYMBOLS).to_dict(), **damage}
    with pytest.raises(ArtifactError, match="scaler"):
        Scaler.from_dict(stored)


def test_a_scaler_without_its_numbers_is_refused() -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        Scaler.from_dict({"names": [], "symbols": []})


def test_a_scale_needs_rows() -> None:
    with pytest.raises(DataError, match="0 of 4 bars"):
        fit(np.full((4, 3, 2), np.nan), NAMES, SYMBOLS)
