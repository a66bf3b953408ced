"""Features of longer intervals see closed bars only, and say what a slow look at the warehouse says."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from cappuccino.errors import ConfigError
from cappuccino.features.catalogue import indicator
from cappuccino.features.compute import block_bars, compute, first_row
from cappuccino.features.context import in_context, longer_bars, named
from cappuccino.features.extras import extra
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray
from cappuccino.market.sync import load_panel
from cappuccino.store.models import build
from cappuccino.store.warehouse import Warehouse
from tests.unit.features.walks import closes, walk
from tests.unit.small_market import END, MARKET, SCHEMA, START, SYMBOLS, bars_between


def column(*values: float) -> FloatArray:
    return np.array(values, dtype=float)[:, None]


def with_holes(panel: BarPanel, rows: list[int]) -> BarPanel:
    """Fill the bars `rows` of the first symbol: the last close again, without volume."""
    changed = {name: getattr(panel, name).copy() for name in ("open", "high", "low", "close", "volume", "is_filled")}
    for t in rows:
        for name in ("open", "high", "low", "close"):
            changed[name][t, 0] = changed["close"][t - 1, 0]
        changed["volume"][t, 0], changed["is_filled"][t, 0] = 0, True
    return dataclasses.replace(panel, **changed)


def test_a_longer_bar_is_its_parts_and_those_that_are_cut_off_are_none() -> None:
    panel = walk(11, start="2024-01-01T03:00")
    longer = longer_bars(panel, Interval.H4)
    assert longer.opened_at.astype(str).tolist() == ["2024-01-01T04:00:00.000000", "2024-01-01T08:00:00.000000"]
    assert np.array_equal(longer.open, panel.open[[1, 5]])
    assert np.array_equal(longer.close, panel.close[[4, 8]])
    assert np.array_equal(longer.high[0], panel.high[1:5].max(axis=0))
    assert np.array_equal(longer.low[1], panel.low[5:9].min(axis=0))
    np.testing.assert_allclose(longer.volume[1], panel.volume[5:9].sum(axis=0), rtol=1e-12)
    assert len(longer_bars(panel.rows(0, 4), Interval.H4)) == 0


def test_a_longer_bar_with_a_filled_part_repeats_the_close_of_the_last_complete_one() -> None:
    panel = with_holes(walk(12), [5])
    longer = longer_bars(panel, Interval.H4)
    assert longer.is_filled.tolist() == [[False, False], [True, False], [False, False]]
    for name in ("open", "high", "low", "close"):
        assert getattr(longer, name)[1, 0] == panel.close[3, 0]
    assert longer.volume[1, 0] == 0
    assert longer.close[1, 1] == panel.close[7, 1]


def test_a_filled_bar_before_any_complete_one_is_made_of_its_parts() -> None:
    panel = with_holes(walk(8), [1])
    longer = longer_bars(panel, Interval.H4)
    assert (longer.close[0, 0], longer.is_filled[0, 0]) == (panel.close[3, 0], True)
    assert longer.volume[0, 0] == pytest.approx(panel.volume[:4, 0].sum())


def test_the_value_changes_with_the_bar_that_closes_the_longer_one() -> None:
    panel = closes(column(1, 1, 1, 2, 9, 9, 9, 3, 9))
    values = in_context(extra("roc_2"), Interval.H4).compute(panel)
    assert np.isnan(values).all()  # two longer bars are one too few
    change = in_context(named("log_change", "test", lambda _: LAST_CLOSE), Interval.H4).compute(panel)[:, 0, 0]
    assert np.isnan(change[:3]).all()
    assert change[3:].tolist() == [2, 2, 2, 2, 3, 3]


LAST_CLOSE = dataclasses.replace(extra("roc_2"), compute=lambda panel: panel.close[..., None])


@pytest.mark.parametrize("interval", [Interval.H4, Interval.D1])
def test_an_agent_of_that_interval_or_a_longer_one_gets_the_feature_of_its_own_bars(interval: Interval) -> None:
    panel = walk(700, interval=interval, start="2022-01-01")
    on_longer = compute(panel, FeatureSpec(("rsi_14@4h",), ("roc_12@4h",)))
    assert np.array_equal(on_longer, compute(panel, FeatureSpec(("rsi_14",), ("roc_12",))), equal_nan=True)


def test_names_say_which_interval_and_the_warmup_is_that_of_the_longer_bars() -> None:
    spec = FeatureSpec(("macd", "macd@4h"), ("roc_12@1d", "roc_12@4h"))
    own = ("macd_frac", "macd_signal_frac", "macd_histogram_frac")
    assert spec.names[5:] == (*own, *(f"{name}_4h" for name in own), "roc_12_1d", "roc_12_4h")
    roc = named("roc_12@1d", "features.extras", extra)
    assert roc.warmup_bars(Interval.M15) == 13 * 96
    assert roc.warmup_bars(Interval.D1) == 12
    assert named("rsi_14@1d", "features.indicators", indicator).warmup_bars(Interval.H1) == 201 * 24


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rsi_14@3h", r"features.indicators: 'rsi_14@3h' looks at no interval \('3h'\); write rsi_14 for .* rsi_14@4h"),
        ("rsi_14@1m", "'rsi_14@1m' looks at the shortest bar; write rsi_14 for the agent's own bars"),
        ("rsi_14@", "looks at no interval"),
        ("rsi_14@4h@1d", "looks at no interval"),
        ("rsy_14@4h", "unknown indicator 'rsy_14'"),
    ],
)
def test_what_cannot_be_seen_on_a_longer_interval_is_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FeatureSpec((name,))


@pytest.mark.parametrize("name", ["trend_1d", "time_of_day"])
def test_what_knows_its_time_takes_no_interval(name: str) -> None:
    with pytest.raises(ConfigError, match=f"features.extras: {name} says when by itself, found '{name}@1d'"):
        FeatureSpec((), (f"{name}@1d",))


def test_blocks_join_without_a_seam_that_matters() -> None:
    panel = with_holes(walk(3000, start="2022-05-04"), [1201, 1700, 1701])
    spec = FeatureSpec(("rsi_14@4h",), ("roc_12@1d",))
    values, first = compute(panel, spec), first_row(panel, spec)
    unbroken = np.concatenate([feature.compute(panel) for feature in spec.features], axis=-1)
    assert 0 < first < len(panel) - 2 * block_bars(Interval.H1)
    assert (np.abs(values - unbroken)[first:] / values[first:].std(axis=0)).max() < 1e-4


@pytest.fixture
def holed_warehouse(new_warehouse: Warehouse) -> Warehouse:
    """Bars of which some hours are missing, so that longer ones are filled."""
    missing = [START + timedelta(hours=h) for h in (101, 303, 304, 305, 306, 307, 500, 777)]
    frame = (
        bars_between(START, END)
        .filter(~pl.col("opened_at_utc").is_in(missing))
        .with_columns(
            (pl.col("opened_at_utc") + MARKET.base_interval.duration).alias("closed_at_utc"),
            pl.lit("simulated").alias("source"),
            pl.lit(END).dt.cast_time_unit("us").alias("ingested_at_utc"),
        )
    )
    with new_warehouse.write() as writer:
        writer.append("market.bars", frame)
        build(writer, SCHEMA.models["market.bars_all"])
    return new_warehouse


ORACLE = """
    with changes as (
        select
            symbol,
            interval,
            closed_at_utc,
            close / lag(close, 3) over (partition by symbol, interval order by closed_at_utc) - 1 as roc
        from market.bars_all
    )

    select hours.symbol, hours.opened_at_utc, changes.roc
    from market.bars_all as hours
    asof left join changes
        on changes.symbol = hours.symbol and changes.interval = $longer
        and changes.closed_at_utc <= hours.closed_at_utc
    where hours.interval = '1h'
    order by hours.opened_at_utc, hours.symbol
    """


@pytest.mark.parametrize("longer", [Interval.H4, Interval.D1])
def test_context_is_what_an_asof_join_over_the_stored_longer_bars_says(
    holed_warehouse: Warehouse, longer: Interval
) -> None:
    spec = FeatureSpec((), (f"roc_3@{longer}",))
    with holed_warehouse.read() as reader:
        panel = load_panel(reader, SYMBOLS, Interval.H1, END)
        expected = reader.query(ORACLE, longer=longer.value)
    computed, first = compute(panel, spec)[..., -1], first_row(panel, spec)
    slow = expected["roc"].to_numpy().reshape(len(panel), len(SYMBOLS))
    assert panel.is_filled.any()
    assert first < len(panel) - 300
    np.testing.assert_allclose(computed[first:], slow[first:], rtol=1e-12)


def test_the_view_of_context_is_the_panel_of_longer_bars(holed_warehouse: Warehouse) -> None:
    """The same closes, and no bar that had not closed, one row for each bar and longer interval."""
    with holed_warehouse.read() as reader:
        panel = load_panel(reader, SYMBOLS, Interval.H1, END)
        view = reader.query(
            """
            select * from market.context
            where interval = '1h' and context_interval = '4h' order by opened_at_utc, symbol
            """
        )
        rows = reader.one(
            "select count(*), count(distinct (interval, symbol, opened_at_utc, context_interval)) from market.context"
        )
    assert rows is not None
    assert rows[0] == rows[1] > 2 * len(view)
    seen = in_context(LAST_CLOSE, Interval.H4).compute(panel)[3:, :, 0]
    assert np.array_equal(view["close"].to_numpy().reshape(-1, len(SYMBOLS)), seen)
    lateness = view["opened_at_utc"] + timedelta(hours=1) - view["context_closed_at_utc"]
    assert lateness.unique().sort().to_list() == [timedelta(hours=h) for h in range(4)]


def test_the_view_depends_on_what_its_asof_join_reads() -> None:
    assert SCHEMA.models["market.context"].depends_on == ("market.bars_all", "market.intervals")
