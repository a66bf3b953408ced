import numpy as np
import pytest

from cappuccino.errors import ConfigError
from cappuccino.features.catalogue import indicator
from cappuccino.features.correlation import reference_symbol
from cappuccino.features.extras import extra
from cappuccino.market.interval import Interval
from tests.unit.features.walks import closes, walk


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_rate_of_change_compares_with_the_close_n_bars_ago() -> None:
    values = extra("roc_2").compute(closes(column(100, 110, 121, 99)))[:, 0, 0]
    np.testing.assert_allclose(values, [np.nan, np.nan, 0.21, -0.1], rtol=1e-12)


def test_adx_alone_is_the_first_column_of_the_catalogue() -> None:
    panel = walk(300)
    assert extra("adx_14").names == ("adx_14",)
    assert np.array_equal(extra("adx_14").compute(panel), indicator("adx_14").compute(panel)[..., :1], equal_nan=True)


def test_realized_volatility_is_the_annualised_root_mean_square_return() -> None:
    panel = closes(column(1, np.exp(0.03), np.exp(-0.01)), interval=Interval.D1)  # returns +3 %, -4 %
    values = extra("realized_volatility_2").compute(panel)[:, 0, 0]
    assert np.isnan(values[:2]).all()
    assert values[2] == pytest.approx(np.sqrt((0.03**2 + 0.04**2) / 2 * 365))


def test_volume_zscore_counts_standard_deviations_of_the_log() -> None:
    volume = np.expm1(column(1, 1, 4))  # mean 2, standard deviation sqrt(2)
    values = extra("volume_zscore_3").compute(closes(column(1, 1, 1), volume=volume))[:, 0, 0]
    assert values[2] == pytest.approx(2 / np.sqrt(2))


def test_volume_zscore_of_constant_volume_is_zero() -> None:
    panel = closes(np.ones((30, 1)), volume=np.full((30, 1), 0.1))
    assert (extra("volume_zscore_7").compute(panel)[6:] == 0).all()


def test_correlation_with_bitcoin_is_that_of_the_last_n_returns() -> None:
    panel = walk(80)
    values = extra("correlation_20").compute(panel)
    returns = np.diff(np.log(panel.close), axis=0)
    assert values[50, 1, 0] == pytest.approx(np.corrcoef(returns[30:50].T)[0, 1])
    np.testing.assert_allclose(values[20:, 0, 0], 1.0)


def test_correlation_with_a_price_that_stands_still_is_zero() -> None:
    close = np.column_stack([walk(40).close[:, 0], np.full(40, 5.0)])
    assert (extra("correlation_10").compute(closes(close))[10:, 1] == 0).all()


def test_the_reference_is_bitcoin_wherever_it_stands() -> None:
    assert reference_symbol(("ETH/USD", "BTC/USD", "BTC/EUR")) == 1
    assert reference_symbol(("ETH/USD", "LTC/USD")) == 0


def test_time_of_day_is_that_of_the_close() -> None:
    values = extra("time_of_day").compute(closes(np.ones((24, 2))))
    np.testing.assert_allclose(values[5], [[1, 0], [1, 0]], atol=1e-12)  # closes at 06:00
    np.testing.assert_allclose(values[23], [[0, 1], [0, 1]], atol=1e-12)  # closes at midnight


def test_the_week_begins_on_monday() -> None:
    sunday = closes(np.ones((2, 1)), interval=Interval.D1, start="2023-12-31")
    values = extra("day_of_week").compute(sunday)[:, 0]
    np.testing.assert_allclose(values[0], [0, 1], atol=1e-12)
    np.testing.assert_allclose(values[1], [np.sin(2 * np.pi / 7), np.cos(2 * np.pi / 7)])


@pytest.mark.parametrize(
    ("name", "interval", "hours"),
    [("trend_4h", Interval.M30, 4), ("trend_1d", Interval.H4, 24), ("trend_4h", Interval.D1, 24)],
)
def test_trend_knows_only_buckets_that_have_closed(name: str, interval: Interval, hours: int) -> None:
    feature = extra(name)
    panel = walk(feature.warmup_bars(interval) + 60, interval=interval, start="2024-01-01T00:00")
    values = feature.compute(panel)
    close_of: dict[np.datetime64, np.ndarray] = {}
    for t, closed_at in enumerate(panel.closed_at):
        if (closed_at - np.datetime64("1970-01-01", "us")) % np.timedelta64(hours, "h") == np.timedelta64(0):
            close_of[closed_at] = panel.close[t]
        known = np.array(list(close_of.values()))
        if t >= feature.warmup_bars(interval):
            expected = [np.log(known[-1] / known[-20:].mean(axis=0)), np.log(known[-1] / known[-2])]
            np.testing.assert_allclose(values[t], np.transpose(expected), rtol=1e-9, atol=1e-12)


def test_trend_is_unknown_before_a_bucket_has_closed() -> None:
    panel = walk(3, start="2024-01-01T00:00")
    assert np.isnan(extra("trend_4h").compute(panel)).all()


def test_regime_tells_lively_from_calm_and_up_from_down() -> None:
    calm, lively = 0.001, 0.02
    zigzag = np.where(np.arange(240) % 2, 1.0, -1.0)
    awakes = np.cumsum(zigzag * np.where(np.arange(240) < 210, calm, lively))
    calms = np.cumsum(zigzag * np.where(np.arange(240) < 210, lively, calm))
    climbs = 0.01 * np.arange(240)
    values = extra("regime").compute(closes(np.exp(np.stack([awakes, calms, climbs], axis=1))))[-1]
    np.testing.assert_array_equal(values, [[1, 0], [-1, 0], [0, 1]])
    falls = extra("regime").compute(closes(np.exp(-climbs)[:, None]))[-1]
    np.testing.assert_array_equal(falls, [[0, -1]])


def test_regime_of_a_market_that_stands_still_is_neutral() -> None:
    assert (extra("regime").compute(closes(np.full((200, 1), 7.0)))[192:] == 0).all()


@pytest.mark.parametrize(
    "name",
    [
        "roc_12",
        "adx_14",
        "realized_volatility_24",
        "volume_zscore_48",
        "correlation_96",
        "time_of_day",
        "day_of_week",
        "trend_4h",
        "trend_1d",
        "regime",
    ],
)
@pytest.mark.parametrize("interval", [Interval.M15, Interval.D1])
def test_an_extra_is_a_number_from_its_warmup_on(name: str, interval: Interval) -> None:
    feature = extra(name)
    first = feature.warmup_bars(interval)
    values = feature.compute(walk(first + 20, interval=interval, start="2024-01-03"))
    assert values.shape == (first + 20, 2, len(feature.names))
    assert np.isfinite(values[first:]).all()


def test_an_unknown_extra_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"unknown feature 'realised_volatility_24'; did you mean realized_vol"):
        extra("realised_volatility_24")
    with pytest.raises(ConfigError, match="trend_1d, trend_4h"):
        extra("trend_2h")


def test_the_length_of_an_extra_has_bounds() -> None:
    with pytest.raises(ConfigError, match="between 2 and 1000"):
        extra("correlation_1")
