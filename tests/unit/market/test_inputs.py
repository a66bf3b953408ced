"""Inputs beside bars: the newest row that was known at the close, or nothing and a column that says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from cappuccino.errors import ConfigError, ContractError, DataError
from cappuccino.features.compute import compute, first_row
from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import build_features, load_features
from cappuccino.market.inputs import NO_INPUTS, Inputs, columns_of
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.market.sync import load_panel
from cappuccino.registry.manifest import ManifestFeatures
from cappuccino.settings import FeatureSettings
from cappuccino.store.models import run_tests
from cappuccino.store.warehouse import Warehouse
from tests.unit.features.walks import walk
from tests.unit.small_market import DAY, END, HOUR, SCHEMA, START, SYMBOLS

BOTH = Inputs(("sentiment", "book_imbalance"))
SPEC = FeatureSpec((), ("roc_12",), BOTH)
BTC = SYMBOLS[0]


def sentiment(symbol: str, known_at: datetime, score: float, **other: float) -> dict[str, object]:
    figures = {"score": score, "momentum": 0.5, "attention": 2.0, "disagreement": 0.25} | other
    return {"symbol": symbol, "known_at_utc": known_at, **figures, "source": "t", "ingested_at_utc": known_at}


def feed(warehouse: Warehouse, *rows: dict[str, object]) -> None:
    with warehouse.write() as writer:
        writer.append("features.sentiment", pl.DataFrame(list(rows)))


def see(warehouse: Warehouse, symbol: str, seen_at: datetime, bid: float, ask: float) -> None:
    row = {"symbol": symbol, "seen_at_utc": seen_at, "bid_units": bid, "ask_units": ask, "source": "t"}
    with warehouse.write() as writer:
        writer.append("market.books", pl.DataFrame([row]))


def panel_of(warehouse: Warehouse, inputs: Inputs = BOTH, now: datetime = END) -> BarPanel:
    with warehouse.read() as reader:
        return load_panel(reader, SYMBOLS, Interval.H1, now, inputs=inputs)


def test_a_row_is_seen_from_the_bar_that_closes_when_it_is_known(full_warehouse: Warehouse) -> None:
    feed(
        full_warehouse,
        sentiment(BTC, START + 5 * HOUR, 0.4),
        sentiment(BTC, START + 7 * HOUR + timedelta(seconds=1), -1),
    )
    panel = panel_of(full_warehouse)
    assert panel.inputs["sentiment_score"][:9, 0].tolist() == [0, 0, 0, 0, 0.4, 0.4, 0.4, -1, -1]
    assert panel.inputs["sentiment_known"][:9, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert panel.inputs["sentiment_attention"][5].tolist() == [2, 0]
    assert not panel.inputs["sentiment_known"][:, 1].any()


def test_a_row_that_is_too_old_counts_as_absent(full_warehouse: Warehouse) -> None:
    feed(full_warehouse, sentiment(BTC, START + 5 * HOUR, 0.4))
    panel = panel_of(full_warehouse, Inputs(("sentiment",), max_age_hours=2))
    assert np.flatnonzero(panel.inputs["sentiment_known"][:, 0]).tolist() == [4, 5, 6]
    assert np.flatnonzero(panel.inputs["sentiment_score"][:, 0]).tolist() == [4, 5, 6]


def test_a_row_from_before_the_panel_is_known_in_it(full_warehouse: Warehouse) -> None:
    see(full_warehouse, BTC, START + HOUR, 3.0, 1.0)
    with full_warehouse.read() as reader:
        panel = load_panel(reader, SYMBOLS, Interval.H1, END, START + 10 * HOUR, Inputs(("book_imbalance",), 12))
    assert panel.inputs["book_imbalance"][:4, 0].tolist() == [0.5, 0.5, 0.5, 0.0]


def test_imbalance_is_the_share_by_which_bids_outweigh_asks(full_warehouse: Warehouse) -> None:
    see(full_warehouse, BTC, START, 0.0, 2.0)
    see(full_warehouse, SYMBOLS[1], START, 5.0, 5.0)
    panel = panel_of(full_warehouse)
    assert panel.inputs["book_imbalance"][0].tolist() == [-1, 0]
    assert panel.inputs["book_imbalance_known"][0].tolist() == [1, 1]


def test_inputs_are_what_an_asof_join_says(full_warehouse: Warehouse) -> None:
    rng = np.random.default_rng(4)
    minutes = sorted(rng.choice(45 * 24 * 60, 400, replace=False).tolist())
    rows = [
        sentiment(SYMBOLS[n % 2], START + minute * timedelta(minutes=1), float(rng.uniform(-1, 1)))
        for n, minute in enumerate(minutes)
    ]
    feed(full_warehouse, *rows)
    panel = panel_of(full_warehouse, Inputs(("sentiment",), max_age_hours=3))
    with full_warehouse.read() as reader:
        expected = reader.query(
            """
            select if(closed_at_utc - known_at_utc <= interval '3 hours', score, 0) as score
            from market.bars_all
            asof left join features.sentiment
                on features.sentiment.symbol = market.bars_all.symbol and known_at_utc <= closed_at_utc
            where interval = '1h'
            order by closed_at_utc, market.bars_all.symbol
            """
        )
    slow = expected["score"].fill_null(0.0).to_numpy().reshape(len(panel), 2)
    assert np.array_equal(panel.inputs["sentiment_score"], slow)
    assert 0.2 < (slow == 0).mean() < 0.9


def test_what_is_known_after_a_close_changes_nothing_before_it(full_warehouse: Warehouse) -> None:
    feed(full_warehouse, *(sentiment(s, START + d * DAY, 0.1 * (d % 7)) for s in SYMBOLS for d in range(40)))
    before = panel_of(full_warehouse)
    features = compute(before, SPEC)
    moment = START + 30 * DAY + timedelta(minutes=10)
    feed(full_warehouse, sentiment(BTC, moment, -0.9, disagreement=1.0))
    see(full_warehouse, BTC, moment, 9.0, 1.0)
    changed = compute(panel_of(full_warehouse), SPEC)
    first = 30 * 24
    assert np.array_equal(changed[:first], features[:first], equal_nan=True)
    assert not np.array_equal(changed[first, 0], features[first, 0])
    assert np.array_equal(changed[:, 1], features[:, 1], equal_nan=True)


def test_the_panel_of_an_earlier_moment_has_the_same_inputs(full_warehouse: Warehouse) -> None:
    feed(full_warehouse, *(sentiment(BTC, START + n * HOUR, 0.01 * n) for n in range(100)))
    earlier = panel_of(full_warehouse, now=START + 50 * HOUR)
    assert earlier.fingerprint() == panel_of(full_warehouse).known_at(START + 50 * HOUR).fingerprint()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_stops_the_line(full_warehouse: Warehouse, value: float) -> None:
    feed(full_warehouse, sentiment(BTC, START + HOUR, 0.0, attention=value))
    with pytest.raises(DataError, match="sentiment_attention of BTC/USD, known at 2025-03-01 01:00:00 UTC"):
        panel_of(full_warehouse)
    with full_warehouse.read() as reader:
        assert not all(result.passed for result in run_tests(reader, SCHEMA.contracts["features.sentiment"]))


def test_two_rows_of_one_moment_are_refused(full_warehouse: Warehouse) -> None:
    with pytest.raises(ContractError):
        feed(full_warehouse, sentiment(BTC, START, 0.1), sentiment(BTC, START, 0.2))


def test_the_features_table_holds_inputs_like_other_features(full_warehouse: Warehouse) -> None:
    feed(full_warehouse, *(sentiment(s, START + d * DAY, 0.02 * d) for s in SYMBOLS for d in range(45)))
    build_features(full_warehouse, SYMBOLS, (Interval.H1,), SPEC, END)
    panel = panel_of(full_warehouse)
    with full_warehouse.read() as reader:
        stored, values = load_features(reader, SYMBOLS, Interval.H1, SPEC, END)
    assert np.array_equal(values, compute(panel, SPEC)[first_row(panel, SPEC) :])
    assert stored.inputs == {}
    assert values[..., SPEC.names.index("sentiment_score")].any()


def test_a_panel_without_the_inputs_of_its_features_is_refused(full_warehouse: Warehouse) -> None:
    with pytest.raises(DataError, match=r"no sentiment_score, .* load it with the inputs of the features"):
        compute(panel_of(full_warehouse, NO_INPUTS), SPEC)


def test_a_cut_panel_keeps_the_rows_of_its_inputs() -> None:
    panel = walk(6)
    values = np.arange(12.0).reshape(6, 2)
    with_some = replace(panel, inputs={"x": values})
    assert np.array_equal(with_some.rows(2, 5).inputs["x"], values[2:5])
    assert with_some.fingerprint() != panel.fingerprint()
    assert with_some.fingerprint() != replace(panel, inputs={"x": values + 1}).fingerprint()
    assert replace(panel, inputs={}).fingerprint() == panel.fingerprint()


def test_the_fingerprint_of_bars_alone_is_what_it_was_before_there_were_inputs() -> None:
    panel = walk(3).rows(0, 0)  # no numbers, so that no machine's rounding is in it
    assert panel.fingerprint() == "0bbc1dc2ddaf4b8f5f11f0f4"


def test_inputs_are_off_by_default_and_told_by_settings() -> None:
    assert FeatureSpec.from_settings(FeatureSettings(max_input_age_hours=3)).inputs == NO_INPUTS
    spec = FeatureSpec.from_settings(FeatureSettings(inputs=("sentiment",), max_input_age_hours=3))
    assert spec.inputs == Inputs(("sentiment",), 3)
    assert spec.names[-5:] == columns_of("sentiment")
    with pytest.raises(ConfigError, match=r"features\.inputs: found moon"):
        Inputs(("moon",))
    with pytest.raises(ConfigError, match="at most once"):
        Inputs(("sentiment", "sentiment"))


@pytest.mark.parametrize("spec", [SPEC, FeatureSpec(("rsi_14",)), replace(SPEC, inputs=Inputs(("sentiment",), 1.5))])
def test_a_spec_comes_back_from_what_is_stored_of_it(spec: FeatureSpec) -> None:
    assert FeatureSpec.from_dict(spec.to_dict()) == spec
    stored = ManifestFeatures(**spec.to_dict(), names=spec.names)
    assert FeatureSpec.from_dict(vars(stored)) == spec


def test_a_manifest_from_before_there_were_inputs_has_none() -> None:
    stored = ManifestFeatures(indicators=("rsi_14",), extras=(), names=("rsi_14",))
    assert FeatureSpec.from_dict(vars(stored)).inputs == NO_INPUTS
    assert FeatureSpec.from_dict({"indicators": ["rsi_14"], "extras": []}) == FeatureSpec(("rsi_14",))
