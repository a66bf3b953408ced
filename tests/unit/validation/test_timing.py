"""Who was only there is told from who was there at the right time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.portfolio import measures
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.market_fit import fit_market
from cappuccino.validation.timing import (
    Comparison,
    HeldPath,
    compare_timing,
    follow,
    held_path,
    p_value,
    reentered,
    relabelled,
    shifted,
    unchanged,
)
from tests.unit.validation.markets import FREE, RULES, UNDER_RULES, episode, in_and_out, market, panel_of


def path_of(is_held, weight=0.5) -> HeldPath:
    """Return the path that holds `weight` where (T,) or (T, A) says so."""
    is_held = np.array(is_held, dtype=bool)
    is_held = is_held[:, None] if is_held.ndim == 1 else is_held
    decided = np.diff(is_held, axis=0, prepend=False)
    return HeldPath(is_held * weight, decided)


def compared(panel, targets, rules=RULES, n=99) -> dict[str, Comparison]:
    found = compare_timing(episode(panel, targets, rules), panel, 0, rules, seed=1, n_permutations=n)
    return {comparison.way: comparison for comparison in found}


def held_over(path, variants):
    """What each account of `variants` holds, as a slow loop would say: (T, n, A)."""
    rows = np.broadcast_to(variants.rows, (len(path), *variants.columns.shape))
    return np.array([path.weights[row % len(path), variants.columns] for row in rows])


def test_the_path_of_an_account_followed_again_is_the_account():
    panel = market()
    own = episode(panel, in_and_out(400, 3, seed=2), UNDER_RULES)
    assert own.rules.any()
    path = held_path(own, panel, 0)
    worth = follow(path, [unchanged(path)], panel, 0, UNDER_RULES, cash_usd=10_000.0)
    np.testing.assert_allclose(worth[:, 0], own.equity_usd[:, 0], rtol=1e-9)


def test_a_path_is_followed_the_same_in_one_piece_and_in_many(monkeypatch):
    panel = market(n_bars=120)
    own = episode(panel, in_and_out(120, 3, seed=2))
    path = held_path(own, panel, 0)
    batch = [unchanged(path), shifted(path, 7, 5, np.random.default_rng(0))]
    whole = follow(path, batch, panel, 0, RULES, cash_usd=10_000.0)
    monkeypatch.setattr("cappuccino.validation.timing.CHUNK_BARS", 17)
    np.testing.assert_array_equal(follow(path, batch, panel, 0, RULES, cash_usd=10_000.0), whole)


def test_another_panel_than_the_accounts_own_is_refused():
    panel = market()
    own = episode(panel, in_and_out(400, 3, seed=2))
    with pytest.raises(DataError, match="away from its own"):
        compare_timing(own, replace(panel, close=panel.close[::-1].copy()), 0, RULES, seed=1, n_permutations=3)


def test_a_shift_moves_all_symbols_round_the_end_by_more_than_a_day():
    path = path_of([[1, 0], [1, 1], [0, 1], [0, 0], [0, 0], [1, 0]])
    variants = shifted(path, 2, 99, np.random.default_rng(0))
    assert len(variants) == 3  # by 2, 3 and 4 of 6
    for held in np.moveaxis(held_over(path, variants), 1, 0):
        offsets = [n for n in range(6) if np.array_equal(np.roll(path.weights, n, axis=0), held)]
        assert offsets and set(offsets) <= {2, 3, 4}


def test_a_range_without_room_for_a_shift_has_none():
    path = path_of([1, 0, 1])
    assert len(shifted(path, 7, 99, np.random.default_rng(0))) == 0
    assert p_value(1.0, np.empty(0)) == 1.0


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 9))
def test_entries_that_are_permuted_keep_the_lengths_of_holds_and_gaps(is_held, seed):
    path = path_of(is_held)

    def lengths(values, kind):
        edges = np.flatnonzero(np.diff(values)) + 1
        return sorted(len(part) for part in np.split(values, edges) if part[0] == kind)

    for held in held_over(path, reentered(path, 3, np.random.default_rng(seed)))[:, :, 0].T > 0:
        assert held[0] == is_held[0]
        for kind in (True, False):
            assert lengths(held, kind) == lengths(np.array(is_held), kind)


def test_entries_are_permuted_with_their_sizes():
    weights = np.array([0.0, 0.2, 0.3, 0.0, 0.0, 0.7, 0.0])[:, None]
    path = HeldPath(weights, np.diff(weights, axis=0, prepend=0.0) != 0)
    orders = {tuple(held) for held in held_over(path, reentered(path, 50, np.random.default_rng(0)))[:, :, 0].T}
    assert (0.0, 0.7, 0.0, 0.0, 0.2, 0.3, 0.0) in orders
    assert len(orders) == 6  # two holds, and three gaps of lengths 1, 2, 1: two orders times three


@pytest.mark.parametrize(("n_assets", "n_others"), [(1, 0), (2, 1), (3, 5), (6, 40), (7, 40)])
def test_symbols_are_exchanged_in_every_other_order_or_in_as_many_as_asked(n_assets, n_others):
    path = path_of(np.ones((3, n_assets)))
    columns = relabelled(path, 40, np.random.default_rng(0)).columns
    assert columns.shape == (n_others, n_assets)
    assert (np.sort(columns, axis=1) == np.arange(n_assets)).all()
    if n_assets < 7:
        assert np.arange(n_assets).tolist() not in columns.tolist()
        assert len(np.unique(columns, axis=0)) == n_others


def test_a_p_value_counts_who_did_at_least_as_well_and_the_account_itself():
    assert p_value(2.0, np.array([1.0, 2.0, 3.0])) == 3 / 4
    assert p_value(4.0, np.array([1.0, 2.0, 3.0])) == 1 / 4
    assert p_value(0.0, np.zeros(9)) == 1.0


def test_the_sharpe_ratio_is_that_of_the_measures():
    panel = market()
    own = episode(panel, in_and_out(400, 3, seed=2))
    comparison = compare_timing(own, panel, 0, RULES, seed=1, n_permutations=2)[0]
    assert comparison.own_sharpe_annualized == pytest.approx(
        measures.sharpe(own.returns[:, 0], Interval.H4.per_year), rel=1e-6
    )
    assert comparison.own_return_frac == pytest.approx(measures.total_return(own.returns[:, 0]), rel=1e-6)


def test_cash_is_no_better_than_cash():
    found = compared(market(), np.zeros((400, 3)), n=9)
    assert all(each.p_sharpe == each.p_return == 1.0 for each in found.values())


def test_who_is_only_long_in_an_uptrend_is_unmasked():
    """In and out by chance while all rises, they beat cash by far; every test says that their timing was nothing."""
    p_values, fits = [], []
    for seed in range(15):
        panel = market(n_bars=300, drift=0.003, seed=100 + seed)
        own = episode(panel, in_and_out(300, 3, seed=seed))
        assert own.equity_usd[-1, 0] > 1.1 * own.equity_usd[0, 0]
        fit = fit_market(own.returns[:, 0], benchmark_returns(panel, 0, 300), panel.interval)
        fits.append((fit.beta, fit.alpha_t))
        found = compare_timing(own, panel, 0, RULES, seed=1, n_permutations=49)[:2]
        p_values.append([p for each in found for p in (each.p_sharpe, each.p_return)])
    beta, alpha_t = np.mean(fits, axis=0)
    assert beta == pytest.approx(0.45, abs=0.1)
    assert alpha_t < 0  # no alpha, and costs
    assert np.mean(p_values, axis=0) == pytest.approx([0.5] * 4, abs=0.2)


def test_who_is_always_long_in_an_uptrend_is_the_market():
    panel = market(n_bars=600, drift=0.002, seed=4)
    targets = np.full((600, 3), np.nan)
    targets[0] = 1 / 3
    own = episode(panel, targets)
    assert own.equity_usd[-1, 0] > 2 * own.equity_usd[0, 0]
    found = {each.way: each for each in compare_timing(own, panel, 0, RULES, seed=1, n_permutations=99)}
    # There is one hold only, so that every other order is the same one.
    assert found["entry_permutation"].p_return == 1.0
    assert found["random_timing"].p_return == 1.0
    fit = fit_market(own.returns[:, 0], benchmark_returns(panel, 0, 600), panel.interval)
    assert fit.beta == pytest.approx(1.0, abs=0.02)
    assert abs(fit.alpha_per_day_frac) < 1e-4
    assert fit.r_squared > 0.99


def test_who_knows_a_pattern_of_the_market_is_found_out():
    """Each spell of the market rises or falls; it shows which in its first bars, and the account acts after them."""
    rng = np.random.default_rng(8)
    spells = np.repeat(rng.choice([-1, 1], (40, 3)), 20, axis=0)
    panel = panel_of(100 * np.exp(np.cumsum(spells * 0.004 + rng.normal(0, 0.008, spells.shape), axis=0)), rng)
    rise = np.zeros(spells.shape)
    rise[5:] = panel.close[5:] / panel.close[:-5] - 1
    targets = np.where(rise > 0.0, 0.3, 0.0)
    changes = np.diff(targets, axis=0, prepend=np.nan) != 0
    found = compared(panel, np.where(changes, targets, np.nan), n=199)
    assert found["random_timing"].p_sharpe < 0.01
    assert found["random_timing"].p_return < 0.01
    assert found["entry_permutation"].p_return < 0.01


def test_who_picks_the_right_symbol_is_found_by_exchanging_symbols_alone():
    rng = np.random.default_rng(3)
    drift = np.array([0.004, 0, -0.001, 0.001, -0.002, 0.0])
    panel = panel_of(100 * np.exp(np.cumsum(rng.normal(0, 0.01, (400, 6)) + drift, axis=0)), rng)
    targets = np.full((400, 6), np.nan)
    targets[0] = [0.9, 0, 0, 0, 0, 0]
    found = compared(panel, targets)
    # One order in six leaves what it held where it was; no other does as well.
    assert found["symbol_permutation"].p_return == pytest.approx(1 / 6, abs=0.08)
    assert found["random_timing"].p_return == 1.0


@pytest.mark.parametrize("make", [shifted, reentered], ids=["random_timing", "entry_permutation"])
def test_on_noise_p_values_are_uniform(make):
    """Without costs and compounding, so that many markets are cheap."""
    p_values = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        targets = in_and_out(300, 2, seed)
        held = np.array([_filled(column) for column in targets.T]).T
        path = HeldPath(held, ~np.isnan(targets))
        returns = rng.normal(0.001, 0.01, (300, 2))
        variants = make(path, 7, 99, rng) if make is shifted else make(path, 99, rng)
        gains = np.einsum("tna,ta->n", held_over(path, variants), returns)
        p_values.append(p_value(float((held * returns).sum()), gains))
    assert kstest(p_values, "uniform").pvalue > 0.05


def _filled(column):
    last = np.maximum.accumulate(np.where(np.isnan(column), 0, np.arange(len(column))))
    return column[last]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000))
def test_a_seed_decides_everything(seed):
    panel = market(n_bars=60)
    own = episode(panel, in_and_out(60, 3, seed=seed), FREE)
    first, second = (compare_timing(own, panel, 0, FREE, seed=seed, n_permutations=4) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.return_frac, other.return_frac)
        assert math.isfinite(one.p_sharpe)
