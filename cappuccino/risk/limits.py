"""Pre-trade limits, the third layer: what an account has lately done decides how much it may buy.

Some stop all buys of an account (N,), others cut single buys (N, A); none touches a sale. They judge what `observe` and
`count` have written down: the account's value at each decision, and its trades.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cappuccino.portfolio.account import Accounts
from cappuccino.portfolio.conditions import Conditions
from cappuccino.portfolio.costs import ROUNDING_USD
from cappuccino.risk.rules import US_PER_DAY, Limits, Rules


def observe(accounts: Accounts, value_usd: Tensor, now_us: Tensor | int, rules: Rules) -> Accounts:
    """Return the accounts, worth `value_usd` (N,), when a decision of `now_us` has been noted.

    Noting a moment twice changes nothing.
    """
    value, limits = value_usd.detach(), rules.limits
    is_new_day = accounts.observed_us < now_us - now_us % US_PER_DAY
    day_start = torch.where(is_new_day, value, accounts.day_start_usd)
    peak = torch.maximum(accounts.peak_usd, value)
    lost_day, is_broken = accounts.lost_day & ~is_new_day, accounts.is_broken
    if limits.daily_loss_frac > 0:
        lost_day = lost_day | (value <= day_start * (1.0 - limits.daily_loss_frac))
    if limits.drawdown_frac > 0:
        is_broken = is_broken | (value <= peak * (1.0 - limits.drawdown_frac))
    has_moved_on = (accounts.observed_us < now_us) & (accounts.observed_usd > 0.0)
    gain, weight = value / accounts.observed_usd - 1.0, 2.0 / (rules.sharpe_bars + 1.0)
    mean, mean_square = accounts.mean_return_frac, accounts.mean_square_return
    return replace(
        accounts,
        observed_us=torch.full_like(accounts.observed_us, now_us) if isinstance(now_us, int) else now_us,
        observed_usd=value,
        day_start_usd=day_start,
        lost_day=lost_day,
        peak_usd=peak,
        is_broken=is_broken,
        n_buys_today=accounts.n_buys_today * ~is_new_day,
        mean_return_frac=torch.lerp(mean, torch.where(has_moved_on, gain, mean), weight),
        mean_square_return=torch.lerp(mean_square, torch.where(has_moved_on, gain * gain, mean_square), weight),
    )


def count(
    accounts: Accounts, units: Tensor, realized_pnl_usd: Tensor, now_us: Tensor | int, limits: Limits
) -> Accounts:
    """Return the accounts when trades of `units` (N, A, signed) at `now_us` have been counted.

    Sales of one call count in the order of symbols, and the streak is looked at when all have: a gain ends it. A
    pause begins it anew.
    """
    if not units.any():
        return accounts
    is_loss = (units < 0.0) & (realized_pnl_usd < 0.0)
    is_gain = (units < 0.0) & ~is_loss
    since_gain = is_loss & (is_gain.flip(1).cumsum(1).flip(1) == 0)
    n_losses = accounts.n_losses * ~is_gain.any(1) + since_gain.sum(1)
    paused_until = accounts.paused_until_us
    if limits.losing_trades > 0:
        is_streak = n_losses >= limits.losing_trades
        paused_until = torch.where(is_streak, now_us + limits.pause_us, paused_until)
        n_losses = n_losses * ~is_streak
    return replace(
        accounts,
        n_buys_today=accounts.n_buys_today + (units > 0.0).sum(1),
        n_losses=n_losses,
        paused_until_us=paused_until,
    )


def reset_breaker(accounts: Accounts) -> Accounts:
    """Return the accounts with their drawdown breakers reset: the newest value observed is the new peak."""
    return replace(accounts, is_broken=torch.zeros_like(accounts.is_broken), peak_usd=accounts.observed_usd)


def daily_loss(accounts: Accounts) -> Tensor:
    """Return who has lost as much as a day may: no buys until it ends; (N,) bool."""
    return accounts.lost_day


def drawdown_breaker(accounts: Accounts) -> Tensor:
    """Return whose breaker has fired: no buys until the operator resumes; (N,) bool."""
    return accounts.is_broken


def losing_streak(accounts: Accounts, now_us: Tensor | int) -> Tensor:
    """Return who is paused at `now_us`, after too many losing sales in a row; (N,) bool."""
    return accounts.paused_until_us > now_us


def largest_order_usd(value_usd: Tensor, limits: Limits) -> Tensor:
    """Return the largest buy of accounts worth `value_usd`, (N, 1) USD."""
    by_value = value_usd * limits.max_order_frac if limits.max_order_frac > 0 else torch.full_like(value_usd, torch.inf)
    return (by_value.clamp(max=limits.max_order_usd) if limits.max_order_usd > 0 else by_value).unsqueeze(1)


def order_rate(accounts: Accounts, orders_usd: Tensor, max_buys_per_day: int) -> Tensor:
    """Return which buys among the orders (N, A, signed) the day has no room for, in the order of symbols; bool."""
    left = max_buys_per_day - accounts.n_buys_today
    is_buy = orders_usd > ROUNDING_USD
    if left.min() >= orders_usd.shape[1]:
        return torch.zeros_like(is_buy)
    return is_buy & (is_buy.cumsum(1) > left.unsqueeze(1))


def correlated_exposure(
    accounts: Accounts, units: Tensor, value_usd: Tensor, mark_usd: Tensor, conditions: Conditions, limits: Limits
) -> Tensor:
    """Return the share of each buy among the orders (N, A, signed units) that the limit on correlated symbols leaves.

    (N, A), 1 where all is left. Sales of the same decision make room.
    """
    correlated_usd = mark_usd * (conditions.market_correlation >= limits.correlated_from)
    allowed_usd = value_usd * limits.max_correlated_frac + ROUNDING_USD
    wanted_usd = ((accounts.units + units) * correlated_usd).sum(1)
    if not (wanted_usd > allowed_usd).any():
        return torch.ones_like(units)
    bought_usd = (units.clamp(min=0.0) * correlated_usd).sum(1)
    room_usd = (allowed_usd - (wanted_usd - bought_usd)).clamp(min=0.0)
    share = torch.where(wanted_usd > allowed_usd, room_usd / bought_usd.clamp(min=ROUNDING_USD), 1.0).clamp(max=1.0)
    return torch.where(correlated_usd > 0.0, share.unsqueeze(1), 1.0)
