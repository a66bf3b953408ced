"""A grid of thresholds in one run: each point is what it would be alone."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from cappuccino.errors import ConfigError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.measures import daily_returns
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation.baselines import benchmark_returns, table_policy
from cappuccino.validation.evaluate import run
from cappuccino.validation.thresholds import COUNTED, NAMES, grid, threshold_study

RULES = Rules.of(RiskSettings(), CostSettings(impact=0.5))
FIXED = grid(
    portfolio_trailing_stop_frac=(0.0, 0.05),
    profit_take_frac=(0.0, 0.03),
    stop_loss_frac=(0.02, 0.1),
)
SCALED = grid(
    portfolio_trailing_stop_frac=(0.0, 0.8),
    move_to_cash_frac=(0.9,),
    position_trailing_stop_frac=(0.7, 2.0),
    protection_scaled=(True,),
    position_scaled=(True, False),
)
BY_SYMBOL = [
    {"stop_loss_by_symbol": (("B/USD", 0.02),)},
    {"stop_loss_by_symbol": (("B/USD", 0.0), ("C/USD", 0.03)), "stop_loss_frac": 0.05},
    {"position_trailing_stop_by_symbol": (("A/USD", 0.02),)},
    {"stop_loss_by_symbol": (), "position_trailing_stop_by_symbol": ()},
    {},
]
START, STOP = 30, 150


def panel_of(n_bars: int = 160) -> BarPanel:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (n_bars, 3)), axis=0))
    opened_at = np.datetime64("2025-01-01", "us") + np.arange(n_bars) * np.timedelta64(Interval.H1.us, "us")
    volume = rng.uniform(0, 100, close.shape)
    is_filled = np.zeros(close.shape, dtype=bool)
    return BarPanel(Interval.H1, ("A/USD", "B/USD", "C/USD"), opened_at, close, close, close, close, volume, is_filled)


PANEL = panel_of()


def restless(t, accounts):
    """Want something else every few bars, and less once the account has lost."""
    wish = torch.tensor(np.random.default_rng(t // 5).dirichlet(np.ones(4))[:3])
    return wish * torch.where(accounts.cash_usd > 3_000, 0.9, 0.6).unsqueeze(1)


@pytest.mark.parametrize(
    ("points", "rules"),
    [
        (FIXED + SCALED, RULES),
        (BY_SYMBOL, RULES),
        (BY_SYMBOL, replace(RULES, stop_loss_by_symbol=(("A/USD", 0.01), ("other", 0.5)))),
    ],
)
def test_each_point_of_a_grid_is_what_it_is_alone(points, rules):
    study = threshold_study(restless, PANEL, START, STOP, rules, points)
    benchmark = benchmark_returns(PANEL, START, STOP)
    assert len(study.frame) == len(points)
    for n, point in enumerate(points):
        alone = run(restless, PANEL, START, STOP, replace(rules, **point))
        row = study.frame.row(n, named=True)
        assert {name: row[name] for name in point if name in NAMES} == {
            name: value for name, value in point.items() if name in NAMES
        }
        assert {name: row[name] for name in asdict(alone.measures(0, benchmark))} == asdict(
            alone.measures(0, benchmark)
        )
        np.testing.assert_array_equal(study.daily_returns[:, n], daily_returns(alone.returns[:, 0], Interval.H1))
        for rule in COUNTED:
            assert row[f"n_{rule.name.lower()}"] == np.count_nonzero(alone.rules & rule.value)


def test_these_grids_make_every_rule_of_theirs_fire():
    frame = threshold_study(restless, PANEL, START, STOP, RULES, FIXED + SCALED).frame
    fired = ("trailing_stop", "profit_take", "move_to_cash", "stop_loss", "position_trailing_stop")
    assert all(frame[f"n_{rule}"].sum() > 0 for rule in fired)
    assert frame["total_return_frac"].n_unique() >= len(frame) / 2


def test_a_grid_that_does_not_fit_into_memory_is_run_in_parts():
    whole = threshold_study(restless, PANEL, START, STOP, RULES, FIXED)
    parts = threshold_study(restless, PANEL, START, STOP, RULES, FIXED, max_tape_mb=0.12)  # three accounts
    assert parts.frame.equals(whole.frame)
    np.testing.assert_array_equal(parts.daily_returns, whole.daily_returns)


def test_a_stop_loss_of_one_symbol_fires_for_that_account_only():
    study = threshold_study(restless, PANEL, START, STOP, replace(RULES, stop_loss_frac=0.0), BY_SYMBOL[:3])
    fired = study.frame["n_stop_loss"].to_list()
    assert fired[0] > 0 < fired[1]
    assert fired[2] == 0


def test_progress_is_told_by_points_and_bars():
    told = []
    threshold_study(restless, PANEL, START, STOP, RULES, FIXED[:3], say=told.append)
    assert told[:2] == ["points 1 to 3: bar 0 of 119", "points 1 to 3: bar 29 of 119"]
    assert len(told) <= 6


def test_a_policy_with_one_wish_for_all_is_asked_once_a_bar():
    weights = np.full((STOP - START, 1, 3), 0.3)
    study = threshold_study(table_policy(PANEL, START, weights), PANEL, START, STOP, RULES, FIXED)
    assert study.daily_returns.shape == ((STOP - START - 1) // 24, len(FIXED))


def test_a_grid_is_every_combination_in_order():
    points = grid(stop_loss_frac=(0.0, 0.1), protection_scaled=(False, True))
    assert points == [
        {"stop_loss_frac": 0.0, "protection_scaled": False},
        {"stop_loss_frac": 0.0, "protection_scaled": True},
        {"stop_loss_frac": 0.1, "protection_scaled": False},
        {"stop_loss_frac": 0.1, "protection_scaled": True},
    ]


def test_what_the_grid_leaves_open_are_the_rules_own_numbers():
    row = threshold_study(restless, PANEL, START, STOP, RULES, grid(stop_loss_frac=(0.05,))).frame.row(0, named=True)
    expected = {name: getattr(RULES, name) for name in NAMES} | {"stop_loss_frac": 0.05}
    assert {name: row[name] for name in NAMES} == expected


def test_unknown_thresholds_and_empty_grids_are_refused():
    with pytest.raises(ConfigError, match="stop_los_frac: no threshold; choose from portfolio_trailing_stop_frac"):
        grid(stop_los_frac=(0.1,))
    with pytest.raises(ConfigError, match="at least one point"):
        threshold_study(restless, PANEL, START, STOP, RULES, [])
