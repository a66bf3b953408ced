"""Features see no future, and do not care where anybody's history begins or ends: bit for bit."""

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.features.compute import compute, compute_latest, first_row, live_start
from cappuccino.features.spec import FeatureSpec
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
