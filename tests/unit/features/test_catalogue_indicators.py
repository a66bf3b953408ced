import numpy as np
import pytest

from cappuccino.errors import ConfigError
from cappuccino.features.catalogue import catalogue, indicator
from cappuccino.features.refusals import REFUSED
from cappuccino.market.interval import Interval
from tests.unit.features.walks import closes, rescaled, walk

# One falls by a fixed amount of money a bar, the other is an angle: no division frees them of the price.
WITHOUT_SCALE = {"decay", "linregangle"}
USABLE = [name for name in catalogue() if name not in REFUSED and name not in WITHOUT_SCALE]
LENGTHS = ["ema_50", "bbands_20", "rsi_7", "atr_30", "sma_120", "dpo_10", "hma_9", "aroon_40", "vidya_30"]
ONE = ("BTC/USD",)


def test_the_catalogue_is_as_rich_as_promised() -> None:
    assert len(USABLE) >= 170
    assert {"macd", "rsi", "cci", "dx", "roc", "adx", "bbands", "ema"} <= set(USABLE)
    assert set(catalogue()) >= set(REFUSED)


@pytest.mark.parametrize("name", USABLE + LENGTHS)
def test_an_indicator_never_sees_the_future(name: str) -> None:
    feature = indicator(name)
    t = feature.warmup_bars(Interval.H1) + 37
    panel = walk(t + 60, symbols=ONE, seed=1)
    changed = rescaled(panel, price=1.7, volume=5.0, start=t)
    assert np.array_equal(feature.compute(panel)[:t], feature.compute(changed)[:t])


@pytest.mark.parametrize("name", USABLE + LENGTHS)
def test_an_indicator_is_free_of_units_and_always_a_number(name: str) -> None:
    feature = indicator(name)
    settled = feature.warmup_bars(Interval.H1)
    panel = walk(settled + 60, symbols=ONE, seed=2)
    plain = feature.compute(panel)[settled:]
    # Powers of two, so that a comparison inside an indicator cannot tip over by rounding.
    scaled = feature.compute(rescaled(panel, price=1024.0, volume=0.25))[settled:]
    assert np.isfinite(plain).all()
    np.testing.assert_allclose(scaled, plain, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", USABLE + LENGTHS)
def test_an_indicator_forgets_where_history_began_within_its_warmup(name: str) -> None:
    feature = indicator(name)
    settled, earlier = feature.warmup_bars(Interval.H1), 216
    panel = walk(earlier + settled + 60, symbols=ONE, seed=3)
    long = feature.compute(panel)[earlier + settled :]
    short = feature.compute(panel.rows(earlier, len(panel)))[settled:]
    spread = feature.compute(panel)[settled:].std(axis=0) + 1e-12
    assert (np.abs(long - short) / spread).max() < 1e-4


@pytest.mark.parametrize("name", ["vwap", "cpr"])
def test_daily_indicators_warm_up_for_two_days_of_short_bars(name: str) -> None:
    feature = indicator(name)
    settled = feature.warmup_bars(Interval.M5)
    panel = walk(1700, symbols=ONE, interval=Interval.M5, start="2024-01-01T07:05")
    long = feature.compute(panel)[700 + settled :]
    short = feature.compute(panel.rows(700, 1700))[settled:]
    assert settled == 2 * 288
    np.testing.assert_allclose(long, short, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_indicator_says_why(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a feature"):
        indicator(name)


@pytest.mark.parametrize("name", sorted(WITHOUT_SCALE))
def test_an_indicator_whose_scale_cannot_be_removed_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="depends on how dear a coin is"):
        indicator(name)


def test_an_unknown_indicator_lists_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"unknown indicator 'macdd'; near matches: .*macd"):
        indicator("macdd")
    with pytest.raises(ConfigError, match=r"unknown indicator 'rssi_14'; near matches: .*rsi"):
        indicator("rssi_14")


def test_a_length_must_be_one_that_the_indicator_takes() -> None:
    with pytest.raises(ConfigError, match="'macd' takes no length"):
        indicator("macd_12")
    with pytest.raises(ConfigError, match="between 1 and 1000"):
        indicator("rsi_0")
    with pytest.raises(ConfigError, match="between 1 and 1000"):
        indicator("rsi_1001")


def test_one_column_is_named_as_configured_and_several_as_in_the_catalogue() -> None:
    assert indicator("cci_20").names == ("cci_20",)
    assert indicator("ema_50").names == ("ema_50_frac",)
    assert indicator("macd").names == ("macd_frac", "macd_signal_frac", "macd_histogram_frac")
    assert indicator("bbands_20").names == (
        "bbl_20_2_0_frac",
        "bbm_20_2_0_frac",
        "bbu_20_2_0_frac",
        "bbb_20_2_0",
        "bbp_20_2_0",
    )


def test_macd_is_the_difference_of_its_averages_over_the_close() -> None:
    panel = walk(400, symbols=ONE, seed=4)
    close = panel.close[:, 0]

    def average(values: np.ndarray, length: int, first: int) -> np.ndarray:
        out = np.full(len(values), np.nan)
        out[first + length - 1] = values[first : first + length].mean()
        for t in range(first + length, len(values)):
            out[t] = out[t - 1] + 2 / (length + 1) * (values[t] - out[t - 1])
        return out

    line = average(close, 12, 0) - average(close, 26, 0)
    signal = average(line, 9, 25)
    expected = np.stack([line, signal, line - signal], axis=-1) / close[:, None]
    np.testing.assert_allclose(indicator("macd").compute(panel)[200:, 0], expected[200:], rtol=1e-9, atol=1e-12)


def test_rsi_is_the_share_of_rises_in_wilder_averages() -> None:
    panel = walk(400, symbols=ONE, seed=5)
    change = np.diff(panel.close[:, 0])
    rise, fall = np.maximum(change[:14], 0).mean(), np.maximum(-change[:14], 0).mean()
    for step in change[14:]:
        rise, fall = (13 * rise + max(step, 0)) / 14, (13 * fall + max(-step, 0)) / 14
    assert indicator("rsi_14").compute(panel)[-1, 0, 0] == pytest.approx(100 * rise / (rise + fall), rel=1e-9)


def test_dx_is_the_relative_difference_of_the_directional_indicators() -> None:
    panel = walk(400, symbols=ONE, seed=6)
    _, plus, minus = np.moveaxis(indicator("adx_14").compute(panel)[200:, 0], -1, 0)
    expected = 100 * np.abs(plus - minus) / (plus + minus)
    np.testing.assert_allclose(indicator("dx_14").compute(panel)[200:, 0, 0], expected, rtol=1e-6)


def test_symbols_do_not_mix() -> None:
    panel = walk(300, seed=7)
    both = indicator("macd").compute(panel)
    alone = walk(300, seed=7)
    alone = type(alone)(
        alone.interval,
        alone.symbols[1:],
        alone.opened_at,
        *(getattr(alone, name)[:, 1:] for name in ("open", "high", "low", "close", "volume", "is_filled")),
    )
    assert np.array_equal(both[:, 1:], indicator("macd").compute(alone))


@pytest.mark.parametrize("name", USABLE)
def test_a_market_that_stands_still_without_volume_gives_numbers(name: str) -> None:
    still = closes(np.full((460, 1), 50.0), volume=np.zeros((460, 1)))
    assert np.isfinite(indicator(name).compute(still)).all()
