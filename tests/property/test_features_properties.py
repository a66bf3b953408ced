"""Features see no future, and do not care where anybody's history begins or ends: bit for bit."""

from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.features.compute import compute, compute_latest, first_row, live_start
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.inputs import NO_INPUTS, Inputs, columns_of
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime
from tests.unit.features.walks import rescaled, walk

SPEC = FeatureSpec(
    ("macd", "rsi_14", "cci_20", "dx_14", "bbands_20", "psar", "vwap", "kvo", "ichimoku", "dpo"),
    (
        "roc_12",
        "adx_14",
        "realized_volatility_24",
        "volume_zscore_24",
        "correlation_48",
        "time_of_day",
        "day_of_week",
        "trend_4h",
        "trend_1d",
        "regime",
    ),
)
N_BARS = 900
INTERVALS = st.sampled_from([Interval.H1, Interval.H4, Interval.D1])
FEW = settings(max_examples=8, derandomize=True, deadline=None)


@cache
def market(interval: Interval) -> tuple[BarPanel, FloatArray]:
    panel = walk(N_BARS, interval=interval, start="2022-05-04", seed=11)
    return panel, compute(panel, SPEC)


def equal(a: FloatArray, b: FloatArray) -> bool:
    return np.array_equal(a, b, equal_nan=True)


@FEW
@given(INTERVALS, st.integers(0, N_BARS))
def test_features_never_see_the_future(interval: Interval, t: int) -> None:
    panel, features = market(interval)
    assert equal(compute(panel.rows(0, t), SPEC), features[:t])


@FEW
@given(INTERVALS, st.integers(0, N_BARS - 1), st.floats(0.2, 5.0))
def test_features_do_not_move_when_later_bars_do(interval: Interval, t: int, factor: float) -> None:
    panel, features = market(interval)
    changed = rescaled(panel, price=factor, volume=1 / factor, start=t)
    assert equal(compute(changed, SPEC)[:t], features[:t])


@FEW
@given(INTERVALS, st.integers(0, N_BARS))
def test_features_do_not_depend_on_where_history_begins(interval: Interval, start: int) -> None:
    panel, features = market(interval)
    later = panel.rows(start, N_BARS)
    first = first_row(later, SPEC)
    computed = compute(later, SPEC)
    assert np.isnan(computed[:first]).all()
    assert equal(computed[first:], features[start + first :])


@settings(max_examples=25, derandomize=True, deadline=None)
@given(INTERVALS, st.data())
def test_the_live_row_is_the_batch_row(interval: Interval, data: st.DataObject) -> None:
    panel, features = market(interval)
    t = data.draw(st.integers(first_row(panel, SPEC), N_BARS - 1), label="t")
    now = as_datetime(panel.closed_at[t])
    oldest = int(np.searchsorted(panel.opened_at, np.datetime64(live_start(SPEC, interval, now).replace(tzinfo=None))))
    more = data.draw(st.integers(0, oldest), label="more history")
    assert np.array_equal(compute_latest(panel.rows(oldest - more, t + 1), SPEC), features[t])


BESIDE = FeatureSpec(
    ("rsi_14@4h",), ("roc_12@1d", "correlation_24@4h", "volume_zscore_24@4h"), Inputs(("sentiment", "book_imbalance"))
)
"""Longer bars and inputs beside them; some bars are filled, and some inputs unknown."""
N_HOURS = 1800


def beside(seed: int) -> BarPanel:
    panel = walk(N_HOURS, start="2022-05-04", seed=seed)
    rng = np.random.default_rng(seed)
    columns = [column for name in BESIDE.inputs.names for column in columns_of(name)]
    inputs = {column: rng.normal(size=panel.close.shape) * (rng.random(panel.close.shape) < 0.7) for column in columns}
    return replace(panel, inputs=inputs, is_filled=rng.random(panel.close.shape) < 0.02)


@cache
def market_beside() -> tuple[BarPanel, FloatArray]:
    panel = beside(11)
    return panel, compute(panel, BESIDE)


def joined(past: BarPanel, future: BarPanel, t: int) -> BarPanel:
    """Return `past` whose bars and inputs from row t on are those of `future`."""
    names = ("open", "high", "low", "close", "volume", "is_filled")
    bars = {name: np.concatenate([getattr(past, name)[:t], getattr(future, name)[t:]]) for name in names}
    inputs = {name: np.concatenate([past.inputs[name][:t], future.inputs[name][t:]]) for name in past.inputs}
    return replace(past, **bars, inputs=inputs)


@FEW
@given(st.integers(0, N_HOURS))
def test_longer_bars_and_inputs_never_see_the_future(t: int) -> None:
    panel, features = market_beside()
    assert equal(compute(panel.rows(0, t), BESIDE), features[:t])
    assert equal(compute(joined(panel, beside(12), t), BESIDE)[:t], features[:t])


@FEW
@given(st.integers(0, N_HOURS))
def test_longer_bars_do_not_depend_on_where_history_begins(start: int) -> None:
    panel, features = market_beside()
    later = panel.rows(start, N_HOURS)
    first = first_row(later, BESIDE)
    assert equal(compute(later, BESIDE)[first:], features[start + first :])


@FEW
@given(st.data())
def test_the_live_row_of_longer_bars_and_inputs_is_the_batch_row(data: st.DataObject) -> None:
    panel, features = market_beside()
    t = data.draw(st.integers(first_row(panel, BESIDE), N_HOURS - 1), label="t")
    oldest = live_start(BESIDE, Interval.H1, as_datetime(panel.closed_at[t]))
    known = panel.between(oldest, as_datetime(panel.closed_at[t]))
    assert np.array_equal(compute_latest(known, BESIDE), features[t])


def test_features_without_inputs_are_the_same_bits_on_a_panel_that_has_some() -> None:
    panel, _ = market_beside()
    bars_only = replace(panel, inputs={})
    plain = replace(BESIDE, inputs=NO_INPUTS)
    assert equal(compute(panel, plain), compute(bars_only, plain))
    assert equal(compute(panel, plain), compute(panel, BESIDE)[..., : len(plain.names)])
