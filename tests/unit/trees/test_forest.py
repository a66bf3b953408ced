from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.env.market import MarketArrays
from cappuccino.errors import ArtifactError, DataError
from cappuccino.trees.forest import Forest, grow
from cappuccino.trees.hyper import Target, TreeHyper
from cappuccino.trees.inputs import Column
from tests.unit.trees.markets import LOOKBACK, RULES, SPEC, ground

SMALL = TreeHyper(leaves=4, rounds=5, horizon_bars=6)
GROUND = ground(drift=0.003)


def grown(
    hyper: TreeHyper = SMALL, market: MarketArrays = GROUND.market, *segments: tuple[int, int], seed: int = 1
) -> Forest:
    return grow(market, SPEC.names, segments or (GROUND.train,), LOOKBACK, hyper, RULES.costs, seed)


def read(text: str, hyper: TreeHyper = SMALL) -> Forest:
    return Forest.from_json(text, hyper, LOOKBACK, SPEC.names, "model.json")


def changed_after(stop: int, seed: int) -> MarketArrays:
    """Return the market with another future from bar `stop` on."""
    draw = torch.Generator().manual_seed(seed)

    def other(values: torch.Tensor) -> torch.Tensor:
        values = values.clone()
        values[stop:] *= 0.5 + torch.rand(values[stop:].shape, generator=draw, dtype=values.dtype)
        return values

    market = GROUND.market
    return replace(
        market,
        features=other(market.features),
        open_usd=other(market.open_usd),
        close_usd=other(market.close_usd),
    )


@pytest.mark.parametrize("hyper", [SMALL, replace(SMALL, target="return", knows_symbol=True, feature_frac=0.5)])
def test_equal_inputs_give_equal_bytes(hyper: TreeHyper) -> None:
    assert grown(hyper).to_json() == grown(hyper).to_json()


def test_another_seed_looks_at_other_inputs() -> None:
    few = replace(SMALL, feature_frac=0.3)
    assert grown(few, seed=1).booster != grown(few, seed=2).booster


@settings(max_examples=10, deadline=None)
@given(st.integers(600, 1200), st.integers(1, 48), st.sampled_from(["return", "risk"]), st.integers(0, 99))
def test_nothing_after_a_segment_moves_what_is_learned_of_it(
    stop: int, horizon: int, target: Target, seed: int
) -> None:
    hyper, segment = replace(SMALL, horizon_bars=horizon, target=target), (GROUND.train[0], stop)
    assert grown(hyper, GROUND.market, segment).to_json() == grown(hyper, changed_after(stop, seed), segment).to_json()


def test_no_label_or_window_crosses_a_gap_between_segments() -> None:
    first, last = GROUND.train
    segments = ((first, first + 300), (first + 400, last))
    market = GROUND.market
    gone = market.close_usd.clone()
    gone[first + 300 : first + 400] = torch.nan
    features = market.features.clone()
    features[first + 300 : first + 400] = torch.nan
    holed = replace(market, close_usd=gone, open_usd=gone, features=features)
    whole = replace(market, open_usd=market.close_usd)
    assert grown(SMALL, holed, *segments).to_json() == grown(SMALL, whole, *segments).to_json()


def test_a_segment_too_short_for_its_labels_is_left_out() -> None:
    first, last = GROUND.train
    short = (first, first + LOOKBACK + SMALL.horizon_bars - 1)
    assert (
        grown(SMALL, GROUND.market, short, (first + 50, last)).booster
        == grown(SMALL, GROUND.market, (first + 50, last)).booster
    )


def test_too_little_history_is_refused() -> None:
    first = GROUND.train[0]
    with pytest.raises(DataError, match="rows to grow trees on, 200 are needed; a horizon of 6 bars"):
        grown(SMALL, GROUND.market, (first, first + 100))


def test_rows_without_features_are_refused() -> None:
    with pytest.raises(DataError, match="lack features"):
        grown(SMALL, GROUND.market, (GROUND.train[0] - 10, GROUND.train[1]))


def test_an_entry_has_to_pay_for_its_costs() -> None:
    # In and out: twice a fee of 25 and a slippage of 5 basis points.
    assert grown(replace(SMALL, entry_costs=1.5)).entry_return == pytest.approx(1.5 * 2 * 30 / 1e4)


def test_the_usual_expectation_asks_for_the_whole_weight() -> None:
    forest = grown(replace(SMALL, full_at=2.0))
    first, last = GROUND.train
    expected = forest.expect(GROUND.market, first + LOOKBACK - 1, last - SMALL.horizon_bars)
    assert forest.full_return == pytest.approx(2.0 * np.sqrt(np.mean(expected**2)))


def test_a_forest_comes_back_from_its_text() -> None:
    forest = grown(replace(SMALL, knows_symbol=True))
    again = read(forest.to_json(), forest.hyper)
    assert again == forest
    span = GROUND.held_out
    assert again.expect(GROUND.market, *span).tobytes() == forest.expect(GROUND.market, *span).tobytes()


def test_what_is_planted_is_what_the_trees_look_at() -> None:
    shares = grown().importances()
    assert sum(shares.values()) == pytest.approx(1.0)
    assert max(shares, key=lambda column: shares[column]) == Column("log_volume", "now")


def test_trees_without_a_split_look_at_nothing() -> None:
    shares = grown(replace(SMALL, min_leaf_frac=0.9)).importances()
    assert set(shares.values()) == {0.0}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: "no json", "is not JSON"),
        (lambda s: "[]", "has not the fields"),
        (lambda s: json.dumps({**s, "more": 1}), "has not the fields"),
        (lambda s: json.dumps({**s, "booster": "tree"}), "holds no trees"),
        (lambda s: json.dumps({**s, "booster": None}), "holds no trees"),
        (lambda s: json.dumps({**s, "columns": [["a"]]}), "holds no trees"),
        (lambda s: json.dumps({**s, "columns": s["columns"][1:]}), "where its manifest asks for"),
        (lambda s: json.dumps({**s, "full_return": 0.0}), "which cannot be"),
        (lambda s: json.dumps({**s, "entry_return": float("nan")}), "which cannot be"),
    ],
)
def test_damaged_trees_are_refused(damage: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read(damage(json.loads(grown().to_json())))


def test_trees_of_other_inputs_are_refused() -> None:
    with pytest.raises(ArtifactError, match="where its manifest asks for"):
        read(grown().to_json(), replace(SMALL, knows_symbol=True))
