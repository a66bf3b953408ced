"""Episodes: what a policy is shown, what happens when, what is reported."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio import engine
from cappuccino.portfolio.account import open_accounts
from cappuccino.portfolio.conditions import conditions_of
from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.evaluate import run

DEFAULTS = Rules.of(RiskSettings(), CostSettings())
FREE = replace(DEFAULTS.without_protection(), costs=Costs(0.0, 0.0, 0.0))


def panel_of(opens, closes, interval=Interval.H1) -> BarPanel:
    opens, closes = np.array(opens, dtype=float), np.array(closes, dtype=float)
    n_bars, n_assets = closes.shape
    opened_at = np.datetime64("2025-01-01", "us") + np.arange(n_bars) * np.timedelta64(interval.us, "us")
    return BarPanel(
        interval,
        tuple(f"S{a}/USD" for a in range(n_assets)),
        opened_at,
        open=opens,
        high=np.maximum(opens, closes),
        low=np.minimum(opens, closes),
        close=closes,
        volume=np.ones_like(closes),
        is_filled=np.zeros(closes.shape, dtype=bool),
    )


def random_panel(n_bars=200, n_assets=3, seed=5) -> BarPanel:
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (n_bars, n_assets)), axis=0))
    opens = np.vstack([closes[:1], closes[:-1]]) * np.exp(rng.normal(0, 0.001, closes.shape))
    return panel_of(opens, closes)


def constant(*weights):
    return lambda t, accounts: torch.tensor([weights] * len(accounts), dtype=torch.float64)


def wavering(n_assets, seed=0):
    """A policy that wants something else on every bar, the same for the same bar."""

    def policy(t, accounts):
        rng = np.random.default_rng((seed, t))
        return torch.tensor(rng.dirichlet(np.ones(n_assets + 1), len(accounts))[:, :n_assets])

    return policy


def test_an_episode_decides_at_the_close_and_fills_at_the_next_open():
    panel = panel_of(opens=[[10], [20], [40]], closes=[[10], [25], [50]])
    result = run(constant(1.0), panel, 0, 3, FREE, cash_usd=1_000.0)
    # 100 units wanted at the close of 10; at the open of 20 the cash buys 50, worth 25, then 50 each.
    assert result.equity_usd[:, 0].tolist() == [1_000.0, 1_250.0, 2_500.0]
    assert result.returns[:, 0].tolist() == [0.25, 1.0]
    assert result.units[:, 0, 0].tolist() == [50.0, 0.0]
    assert result.weights[:, 0, 0].tolist() == [1.0, 1.0]
    assert result.closed_at[0] == panel.closed_at[0]
    assert len(result.closed_at) == len(result.equity_usd) == 3


def test_the_policy_sees_each_row_but_the_last_once_and_in_order():
    seen = []

    def policy(t, accounts):
        seen.append(t)
        return torch.zeros(1, 3, dtype=torch.float64)

    run(policy, random_panel(), 20, 30, DEFAULTS)
    assert seen == list(range(20, 29))


def test_an_episode_in_two_parts_is_the_episode_in_one():
    panel = random_panel()
    whole = run(wavering(3), panel, 10, 150, DEFAULTS, n_accounts=2)
    first = run(wavering(3), panel, 10, 80, DEFAULTS, n_accounts=2)
    second = run(wavering(3), panel, 79, 150, DEFAULTS, accounts=first.final)
    np.testing.assert_array_equal(np.vstack([first.equity_usd, second.equity_usd[1:]]), whole.equity_usd)
    assert second.final.to_rows() == whole.final.to_rows()


def test_training_can_go_on_from_where_an_episode_ended():
    panel = random_panel()
    final = run(wavering(3), panel, 0, 50, DEFAULTS).final
    targets = torch.full((1, 3), 0.2, dtype=torch.float64, requires_grad=True)
    at = torch.tensor(panel.close[50])
    _, step = engine.step(final, targets, at, at, at, 0, 0, DEFAULTS.for_training())
    step.value_after_usd.sum().backward()
    assert targets.grad.any()


def test_accounts_of_a_batch_do_not_touch_each_other():
    panel = random_panel()
    together = run(wavering(3), panel, 0, 100, DEFAULTS, n_accounts=3)

    def third(t, accounts):
        return wavering(3)(t, range(3))[2:]

    alone = run(third, panel, 0, 100, DEFAULTS)
    np.testing.assert_array_equal(alone.equity_usd[:, 0], together.equity_usd[:, 2])


def test_the_future_does_not_move_an_equity_curve():
    panel = random_panel()
    changed = replace(panel, close=np.where(np.arange(200)[:, None] < 120, panel.close, 1.0))
    before, after = (run(wavering(3), bars, 0, 200, DEFAULTS).equity_usd for bars in (panel, changed))
    np.testing.assert_array_equal(before[:120], after[:120])
    assert not np.array_equal(before[120:], after[120:])


DEMANDING = replace(
    DEFAULTS,
    costs=Costs(25.0, 5.0, 10.0, spread_bps=4.0, impact=1.0),
    protection_scaled=True,
    portfolio_trailing_stop_frac=0.5,
    position_scaled=True,
    stop_loss_frac=1.0,
    stop_loss_by_symbol=(("S1/USD", 0.5),),
)


def traded_panel() -> BarPanel:
    panel = random_panel()
    return replace(panel, volume=np.random.default_rng(3).uniform(0, 10, panel.close.shape))


def test_an_episode_decides_and_fills_under_the_conditions_known_at_the_close():
    panel, rules = traded_panel(), DEMANDING.on(("S0/USD", "S1/USD", "S2/USD"))
    result = run(wavering(3), panel, 20, 60, DEMANDING)
    accounts, close = open_accounts(1, 3, 10_000.0), torch.tensor(panel.close)
    hour = Interval.H1.us
    for t in range(20, 59):
        known = conditions_of(panel.rows(0, t + 1)).at(t)
        targets = wavering(3)(t, accounts)
        fill, now_us = torch.tensor(panel.open[t + 1]), t * hour
        accounts, step = engine.step(accounts, targets, close[t], fill, close[t + 1], now_us, now_us, rules, known)
        assert step.value_after_usd.tolist() == result.equity_usd[t - 19].tolist()
        assert step.fills.impact_usd[0].tolist() == result.impact_usd[t - 20, 0].tolist()
    assert result.impact_usd.sum() > 0
    assert (result.slippage_usd >= result.impact_usd).all()
    assert result.rules.any()


def test_the_future_s_volumes_do_not_move_an_equity_curve():
    panel = traded_panel()
    changed = replace(panel, volume=np.where(np.arange(200)[:, None] < 120, panel.volume, 0.0))
    before, after = (run(wavering(3), bars, 0, 200, DEMANDING).equity_usd for bars in (panel, changed))
    np.testing.assert_array_equal(before[:121], after[:121])  # the fill after the close of row 119
    assert not np.array_equal(before[121:], after[121:])


def test_without_impact_none_is_reported():
    result = run(wavering(3), random_panel(), 0, 20, DEFAULTS)
    assert result.impact_usd.shape == result.slippage_usd.shape
    assert not result.impact_usd.any()


def test_measures_report_what_the_account_did():
    panel = panel_of(opens=[[10], [10], [20]], closes=[[10], [10], [20]])
    costs = Costs(fee_bps=100.0, slippage_bps=0.0, min_order_usd=0.0)
    sell_later = lambda t, accounts: torch.full((1, 1), 0.5 if t == 0 else 0.0, dtype=torch.float64)  # noqa: E731
    result = run(sell_later, panel, 0, 3, replace(FREE, costs=costs), cash_usd=1_000.0)
    figures = result.measures(0, benchmark_returns(panel, 0, 3))
    # 50 units for 500 and 5 of fee, sold at 20 for 1000 and 10 of fee.
    assert figures.total_return_frac == pytest.approx((1_000 - 500 - 5 + 1_000 - 10) / 1_000 - 1)
    assert figures.alpha_frac == pytest.approx(0.485 - 1.0)
    assert figures.fees_usd == pytest.approx(15.0)
    assert (figures.win_rate_frac, figures.n_bars) == (1.0, 2)
    assert figures.trades_per_month == pytest.approx(2 / (2 / 24) * 365 / 12)
    assert figures.turnover_per_day == pytest.approx((500 / 1_000 + 1_000 / 995) * 12)
    assert figures.exposure_frac == pytest.approx((500 / 995 + 0) / 2)
    assert result.trade_pnls_usd(0).tolist() == pytest.approx([500 - 15])


def test_an_account_that_is_worth_nothing_returns_nothing():
    result = run(constant(0.5, 0.0, 0.0), random_panel(), 0, 5, DEFAULTS, cash_usd=0.0)
    assert not result.returns.any()


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (5, 5), (-1, 4), (190, 201)])
def test_a_range_without_a_step_is_refused(start, stop):
    with pytest.raises(DataError, match="hold no step"):
        run(constant(0.0, 0.0, 0.0), random_panel(), start, stop, DEFAULTS)


def test_times_of_the_rules_are_those_of_the_bars():
    rising = panel_of(opens=[[10], [10], [11], [11]], closes=[[10], [11], [11], [11]])
    to_cash = replace(FREE, move_to_cash_frac=0.05, cash_us=Interval.D1.us)
    result = run(constant(1.0), rising, 0, 4, to_cash)
    sold_at = datetime(2025, 1, 1, 2, tzinfo=UTC).timestamp() * 1e6
    assert result.final.out_until_us.item() == int(sold_at) + Interval.D1.us
