"""Many accounts trading history under the trading rules: state in, state out, nothing hidden.

reset     fresh accounts on given bars
step      one bar for every account: actions -> fills -> reward
restart   fresh accounts where an episode ended
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Generator, Tensor

from cappuccino.env.market import MarketArrays
from cappuccino.env.reward import RewardParts, RewardWeights, reward_parts
from cappuccino.env.wish import Wish
from cappuccino.errors import DataError
from cappuccino.portfolio import engine
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.risk.rules import Rules

Segments = tuple[tuple[int, int], ...]
"""[start, stop) of bars, in order, without neighbours: what lies between is not trained on."""
BARELY = 1e-9
"""Action of the smallest wish that is one."""


@dataclass(frozen=True)
class Params:
    """What stays the same during a training."""

    rules: Rules
    reward: RewardWeights
    wish: Wish
    spans: tuple[tuple[int, int], ...]
    """(first, last) bars that may be decided on, one for each segment of the training range: the window of the first
    begins inside the segment, the bar after the last, where orders fill, is the segment's last."""
    episode_bars: int
    """Longest episode."""
    cash_usd: float = 10_000.0
    """Value of a fresh account."""
    ruin_frac: float = 0.2
    """Share of the starting value below which an account is ruined."""


@dataclass(frozen=True)
class State:
    """N accounts, each on its own bar."""

    accounts: Accounts
    bar: Tensor
    """(N,) int64 position of the bar that is decided on next."""
    bars_left: Tensor
    """(N,) int64 steps until the episode is cut."""
    start_value_usd: Tensor
    """(N,) value when the episode began."""


@dataclass(frozen=True)
class Transition:
    """What one step did; all (N,)."""

    reward: Tensor
    parts: RewardParts
    turnover_frac: Tensor
    """Traded notional over the value before."""
    terminated: Tensor
    """Ruined: there is nothing to come."""
    truncated: Tensor
    """Cut, at the end of the range or of the episode; the state that follows has a value."""

    @property
    def ended(self) -> Tensor:
        return self.terminated | self.truncated


def params_for(
    segments: Segments,
    lookback: int,
    rules: Rules,
    reward: RewardWeights,
    wish: Wish,
    episode_bars: int,
) -> Params:
    """Return parameters that keep windows and fills inside each segment [start, stop).

    Raises DataError when no step fits into one.
    """
    for start, stop in segments:
        if stop - start < lookback + 1:
            raise DataError(
                f"{stop - start} bars cannot train a lookback of {lookback}: {lookback + 1} are needed; "
                "load a longer history, or shorten the lookback"
            )
    spans = tuple((start + lookback - 1, stop - 2) for start, stop in segments)
    return Params(rules, reward, wish, spans, episode_bars)


def draw_places(generator: Generator, n: int, params: Params) -> tuple[Tensor, Tensor]:
    """Return `n` random places: bars (n,) uniform over all segments, and bars left (n,) of uniform length.

    Uneven lengths keep the cuts of parallel episodes apart. No episode goes on behind the end of its segment.
    """
    first, last = torch.tensor(params.spans).unbind(1)
    n_before = torch.cumsum(last - first + 1, 0)
    place = torch.randint(0, int(n_before[-1]), (n,), generator=generator)
    left = torch.randint(max(params.episode_bars // 2, 1), params.episode_bars + 1, (n,), generator=generator)
    segment = torch.searchsorted(n_before, place, right=True)
    bar = last[segment] + 1 - (n_before[segment] - place)
    return bar, torch.minimum(left, last[segment] - bar + 1)


def advance(bar: Tensor, bars_left: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return next bar, bars left then, and where the episode is cut there; any equal shapes."""
    return bar + 1, bars_left - 1, bars_left <= 1


@dataclass(frozen=True)
class Fresh:
    """Where N accounts start, and the luck that decides what they start with; on the market's device."""

    bar: Tensor
    """(N,) int64."""
    bars_left: Tensor
    """(N,) int64."""
    draws: Tensor
    """(N, 2 A + 2) uniform on [0, 1), float64."""


def draw_fresh(generator: Generator, bar: Tensor, bars_left: Tensor, market: MarketArrays) -> Fresh:
    """Return N fresh starts; drawn on the CPU, so that every device draws alike."""
    draws = torch.rand(len(bar), 2 * market.n_assets + 2, generator=generator, dtype=torch.float64)
    return Fresh(*(tensor.to(market.close_usd.device) for tensor in (bar, bars_left, draws)))


def reset(fresh: Fresh, market: MarketArrays, params: Params) -> State:
    """Return fresh accounts: about half flat, half with random positions inside the cap."""
    mark_usd = market.close_usd[fresh.bar]
    accounts = _random_accounts(fresh.draws, mark_usd, params)
    return State(accounts, fresh.bar, fresh.bars_left, accounts.value(mark_usd))


def restart(ended: Tensor, fresh: Fresh, state: State, market: MarketArrays, params: Params) -> State:
    """Return `state` with fresh accounts where `ended` (N,)."""
    new = reset(fresh, market, params)
    return State(
        new.accounts.where(ended, state.accounts),
        torch.where(ended, new.bar, state.bar),
        torch.where(ended, new.bars_left, state.bars_left),
        torch.where(ended, new.start_value_usd, state.start_value_usd),
    )


def step(state: State, action: Tensor, market: MarketArrays, params: Params) -> tuple[State, Transition]:
    """Trade `action` (N, A) in [-1, 1]: decide at close[bar], fill at open[bar + 1], mark at its close.

    Prices are not checked; `market.require_prices` has been called.
    """
    close, opened = market.close_usd, market.opened_us
    bar, bars_left, truncated = advance(state.bar, state.bars_left)
    conditions = market.conditions.at(state.bar) if params.rules.need_conditions else None
    accounts, taken = engine.step(
        state.accounts,
        params.wish.weights(action, state.accounts.weights(close[state.bar])),
        close[state.bar],
        market.open_usd[bar],
        close[bar],
        opened[state.bar] + market.interval.us,
        opened[bar],
        params.rules,
        conditions,
        checked=False,
    )
    fills = taken.fills
    traded_usd = (fills.units.abs() * fills.price_usd).sum(dim=1)
    parts = reward_parts(
        taken.value_before_usd, taken.value_after_usd, traded_usd, accounts.weights(close[bar]), params.reward
    )
    terminated = taken.value_after_usd < params.ruin_frac * state.start_value_usd
    after = State(accounts, bar, bars_left, state.start_value_usd)
    turnover = traded_usd / taken.value_before_usd
    return after, Transition(parts.total, parts, turnover, terminated, truncated & ~terminated)


def smooth_step(state: State, action: Tensor, market: MarketArrays, params: Params) -> tuple[State, Transition]:
    """Return the numbers of `step` with gradients of a market that trades every wish, however small.

    Inside the no-trade band, and below the smallest order, the true gradient is 0 and says nothing. There and
    everywhere, the gradient is that of trading all the way, with its costs (a straight-through estimate, Bengio et al.
    2013); rules and fills are those of `step`.
    """
    with torch.no_grad():
        after, done = step(state, action, market, params)
    costs = replace(params.rules.costs, min_order_usd=-1.0)
    smooth = replace(params, wish=replace(params.wish, no_trade_band=0.0), rules=replace(params.rules, costs=costs))
    # An order of nothing has no side, and so no costs: who wants none is asked about the first cent.
    barely = action + (action.clamp(min=BARELY) - action).detach()
    soft_after, soft = step(state, barely, market, smooth)
    parts = RewardParts(*(_straight(a, b) for a, b in _pairs(soft.parts, done.parts)))
    accounts = Accounts(*(_straight(a, b) for a, b in _pairs(soft_after.accounts, after.accounts)))
    return replace(after, accounts=accounts), replace(done, reward=parts.total, parts=parts)


def _pairs(soft: RewardParts | Accounts, true: RewardParts | Accounts) -> Iterator[tuple[Tensor, Tensor]]:
    return ((getattr(soft, field.name), getattr(true, field.name)) for field in fields(soft))


def _straight(soft: Tensor, true: Tensor) -> Tensor:
    """Return the numbers of `true` with the gradients of `soft`."""
    return soft + (true - soft).detach() if soft.requires_grad else true


def _random_accounts(draws: Tensor, mark_usd: Tensor, params: Params) -> Accounts:
    """Return accounts worth `params.cash_usd` at `mark_usd` (N, A)."""
    n, n_assets = mark_usd.shape
    invested = draws[:, 0] < 0.5
    share = draws[:, 2 : 2 + n_assets]
    share = share * (draws[:, 1:2] / share.sum(dim=1, keepdim=True))
    weights = share.clamp(max=params.wish.max_weight) * invested[:, None]
    held = weights > 0
    entry = mark_usd * (0.96 + 0.08 * draws[:, 2 + n_assets :])
    value = torch.full((n,), params.cash_usd, dtype=torch.float64, device=mark_usd.device)
    return replace(
        open_accounts(n, n_assets, params.cash_usd, mark_usd.device),
        cash_usd=value * (1.0 - weights.sum(dim=1)),
        units=weights * value[:, None] / mark_usd,
        average_entry_usd=entry * held,
        peak_price_usd=torch.maximum(entry, mark_usd) * held,
        cycle_base_usd=value * invested,
        cycle_peak_usd=value * invested,
        in_cycle=invested,
    )
