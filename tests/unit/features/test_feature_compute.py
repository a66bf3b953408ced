import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest

from cappuccino.errors import DataError
from cappuccino.features.compute import (
    block_bars,
    compute,
    compute_latest,
    compute_tail,
    first_row,
    live_history_bars,
    live_start,
)
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import EPOCH, Interval
from cappuccino.market.panel import as_datetime
from tests.unit.features.walks import panel_of, walk

BARS = FeatureSpec(())
SPEC = FeatureSpec(("macd", "rsi_14"), ("trend_1d",))


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def block_start(interval: Interval) -> str:
    """A moment at which a block begins."""
    start = EPOCH + 900 * block_bars(interval) * interval.duration
    return start.replace(tzinfo=None).isoformat()


def test_prices_are_logarithms_over_the_previous_close() -> None:
    day_before = datetime.fromisoformat(block_start(Interval.D1)) - Interval.D1.duration
    panel = panel_of(
        column(100, 110), column(100, 130), column(100, 90), column(100, 120), column(0, 9),
        ("BTC/USD",), Interval.D1, day_before.isoformat(),
    )  # fmt: skip
    values = compute(panel, BARS)
    assert np.isnan(values[0]).all()
    np.testing.assert_allclose(values[1, 0], np.log([1.1, 1.3, 0.9, 1.2, 10.0]), rtol=1e-12)


def test_rows_are_empty_up_to_the_first_whole_block_and_full_after_it() -> None:
    panel = walk(900, interval=Interval.H4, start="2024-02-03T08:00")
    first = first_row(panel, SPEC)
    values = compute(panel, SPEC)
    warmup = SPEC.warmup_bars(Interval.H4)
    assert warmup <= first < warmup + block_bars(Interval.H4)
    assert ((as_datetime(panel.opened_at[first]) - EPOCH) // Interval.H4.duration) % block_bars(Interval.H4) == 0
    assert np.isnan(values[:first]).all()
    assert np.isfinite(values[first:]).all()
    assert values.shape == (900, 2, len(SPEC.names))


def test_a_panel_shorter_than_its_warmup_has_no_features() -> None:
    panel = walk(150, interval=Interval.H4)
    assert np.isnan(compute(panel, SPEC)).all()
    assert first_row(panel, SPEC) > 150


def test_an_empty_panel_has_no_rows() -> None:
    assert compute(walk(5).rows(0, 0), SPEC).shape == (0, 2, len(SPEC.names))


def test_blocks_of_features_join_without_a_seam_that_matters() -> None:
    """What a block forgets of the bars before its warm-up is far below what an agent can see."""
    panel = walk(1000, interval=Interval.H4)
    values, first = compute(panel, SPEC), first_row(panel, SPEC)
    unbroken = np.concatenate([feature.compute(panel) for feature in SPEC.features], axis=-1)
    spread = values[first:].std(axis=0)
    assert (np.abs(values - unbroken)[first:] / spread).max() < 1e-4


def test_the_newest_row_says_how_many_bars_are_missing() -> None:
    panel = walk(120, interval=Interval.H4)
    with pytest.raises(DataError, match=r"120 4h bars are too few .* 320 always suffice"):
        compute_latest(panel, SPEC)
    with pytest.raises(DataError, match="too few for the features of the last 121"):
        compute_tail(panel, BARS, 121)


def test_the_bars_that_always_suffice_do_at_every_place_of_a_block() -> None:
    panel = walk(700, interval=Interval.D1)
    n_bars = live_history_bars(BARS, Interval.D1, n_rows=3)
    full = compute(panel, BARS)
    for stop in range(600, 600 + block_bars(Interval.D1)):
        tail = compute_tail(panel.rows(stop - n_bars, stop), BARS, 3)
        assert np.array_equal(tail, full[stop - 3 : stop])


@pytest.mark.parametrize("now", [datetime(2024, 6, 1, 12, 7, tzinfo=UTC), datetime(2024, 6, 9, 16, tzinfo=UTC)])
def test_live_start_is_the_oldest_bar_that_matters(now: datetime) -> None:
    panel = walk(1200, interval=Interval.H4, start="2024-01-01").known_at(now)
    start = live_start(SPEC, Interval.H4, now, n_rows=40)
    enough = panel.between(start, now)
    assert np.array_equal(compute_tail(enough, SPEC, 40), compute(panel, SPEC)[-40:])
    with pytest.raises(DataError, match="too few"):
        compute_tail(panel.between(start + Interval.H4.duration, now), SPEC, 40)


@pytest.mark.parametrize(
    ("name", "value"), [("close", np.nan), ("open", 0.0), ("low", -1.0), ("volume", -1.0), ("high", np.inf)]
)
def test_an_impossible_number_stops_the_line(name: str, value: float) -> None:
    panel = walk(10)
    broken = getattr(panel, name).copy()
    broken[4, 1] = value
    with pytest.raises(DataError, match=f"ETH/USD 1h: {name} of the bar at 2024-01-01T04:00"):
        compute(dataclasses.replace(panel, **{name: broken}), BARS)


def test_bars_off_the_grid_are_refused() -> None:
    with pytest.raises(DataError, match="does not open on the 1h grid"):
        compute(walk(10, start="2024-01-01T00:30"), BARS)
