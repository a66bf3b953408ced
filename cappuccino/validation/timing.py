"""Was it the timing, or only being there? An account beside itself at other times, and in other symbols.

What an account held is taken apart from when it held it. Costs, turnover and sizes stay, only the link with the market
is cut, and everything goes through the engine: who merely was long while prices rose does no better than by chance.

    random_timing        all symbols shifted together, round the end of the range, by more than a day
    entry_permutation    the order of the spells of what is held, and that of the flat ones, is drawn anew
    symbol_permutation   what was done in one symbol is done in another one

A p-value is the share of such accounts that did at least as well, the account itself among them: (k + 1) / (n + 1)
(Phipson & Smyth 2010). Shifting keeps exposure, turnover and what symbols have in common; where the range's end meets
its beginning, positions may change once more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, BoolArray, FloatArray
from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Rules
from cappuccino.validation.evaluate import EpisodeResult, run

IntArray = npt.NDArray[np.int64]
Way = Literal["random_timing", "entry_permutation", "symbol_permutation"]

N_PERMUTATIONS = 200
TIE = 1e-9
"""Figures that differ by less are equal: the same account in another order of additions."""
FOLLOWED_FRAC = 0.02
"""How far a path that is followed may get from its account: rules may sell what is too small for an order."""
CHUNK_BARS = 1024
"""The engine's record of hundreds of accounts is thrown away as often."""
_MAX_ENUMERATED = 720


@dataclass(frozen=True)
class HeldPath:
    """What one account held, apart from what it was worth: T decisions in A symbols."""

    weights: FloatArray
    """(T, A) shares of the account's value right after the newest fill so far, at the prices it was decided on: what
    was wanted, and not what became of it."""
    decided: BoolArray
    """(T, A) where it traded; elsewhere it kept what it had."""

    def __len__(self) -> int:
        return len(self.weights)


def held_path(episode: EpisodeResult, panel: BarPanel, start: int, account: int = 0) -> HeldPath:
    """Return the path of one account of an episode that began at row `start` of `panel` without positions.

    Followed again from row `start` without protection, it gives the same fills: those of the rules are among them.
    """
    n_steps = len(episode.units)
    before, after = panel.close[start : start + n_steps], panel.close[start + 1 : start + 1 + n_steps]
    worth = episode.equity_usd[:, account, None]
    units = episode.weights[:, account] * worth[1:] / after
    weights = np.divide(units * before, worth[:-1], out=np.zeros_like(units), where=worth[:-1] > 0)
    decided = episode.units[:, account] != 0
    newest = np.maximum.accumulate(np.where(decided, np.arange(n_steps)[:, None], 0), axis=0)
    return HeldPath(np.take_along_axis(weights, newest, axis=0), decided)


@dataclass(frozen=True)
class Variants:
    """n accounts that follow a path in another order: at decision k account i has that of row `rows[k, i, a]`.

    Row T is the first one where it comes after the last: only what differs between the two is decided there.
    """

    rows: IntArray
    """(T, n, 1), all symbols moving together; (T, 1, 1) when nothing moves in time."""
    columns: IntArray
    """(n, A) whose weights each symbol gets."""

    def __len__(self) -> int:
        return len(self.columns)


def unchanged(path: HeldPath) -> Variants:
    """Return the account as it was."""
    n_steps, n_assets = path.weights.shape
    return Variants(np.arange(n_steps)[:, None, None], np.arange(n_assets)[None])


def shifted(path: HeldPath, min_shift: int, n: int, rng: np.random.Generator) -> Variants:
    """Return at most `n` circular shifts, none by less than `min_shift` steps in either direction."""
    n_steps, n_assets = path.weights.shape
    possible = np.arange(min_shift, n_steps - min_shift + 1)
    offsets = rng.choice(possible, min(n, len(possible)), replace=False) if len(possible) else possible
    rows = (np.arange(n_steps)[:, None] - offsets) % n_steps
    rows[rows == 0] = n_steps
    return Variants(rows[:, :, None], np.tile(np.arange(n_assets), (len(offsets), 1)))


def reentered(path: HeldPath, n: int, rng: np.random.Generator) -> Variants:
    """Return `n` accounts with the spells of the path in an order of chance, invested and flat ones in their places.

    A spell is a stretch in which the same symbols are held. All symbols move together: permuted one by one they would
    overlap here and leave gaps there, hold less than the account did, and so do worse in a rising market.
    """
    n_steps, n_assets = path.weights.shape
    is_held = path.weights > 0
    starts, lengths = _spells(is_held)
    invested: BoolArray = np.any(is_held[starts], axis=1)
    rows = np.empty((n_steps, n, 1), dtype=np.int64)
    for i in range(n):
        rows[:, i, 0] = _laid_out(starts, lengths, _in_their_places(invested, rng))
    return Variants(rows, np.tile(np.arange(n_assets), (n, 1)))


def relabelled(path: HeldPath, n: int, rng: np.random.Generator) -> Variants:
    """Return at most `n` accounts that did in other symbols what the account did; the same order is none of them."""
    n_steps, n_assets = path.weights.shape
    if math.factorial(n_assets) <= _MAX_ENUMERATED:
        orders = np.array(list(permutations(range(n_assets)))[1:], dtype=np.int64).reshape(-1, n_assets)
        chosen = rng.permutation(len(orders))[:n]
        columns = orders[np.sort(chosen)]
    else:
        columns = np.array([rng.permutation(n_assets) for _ in range(n)], dtype=np.int64)
    return Variants(np.arange(n_steps)[:, None, None], columns)


@dataclass(frozen=True)
class Comparison:
    """One account beside n that did the same in another order."""

    way: Way
    own_sharpe_annualized: float
    own_return_frac: float
    sharpe_annualized: FloatArray
    """(n,) from per-bar returns."""
    return_frac: FloatArray
    """(n,) over the whole range."""

    @property
    def n(self) -> int:
        return len(self.return_frac)

    @property
    def p_sharpe(self) -> float:
        return p_value(self.own_sharpe_annualized, self.sharpe_annualized)

    @property
    def p_return(self) -> float:
        return p_value(self.own_return_frac, self.return_frac)


def p_value(own: float, others: FloatArray) -> float:
    """Return the share of (n,) `others` and of `own` itself that are at least `own`; 1 without others."""
    n_as_good = int(np.count_nonzero(others >= own - TIE * max(1.0, abs(own))))
    return (n_as_good + 1) / (len(others) + 1)


def compare_timing(
    episode: EpisodeResult,
    panel: BarPanel,
    start: int,
    rules: Rules,
    *,
    seed: int,
    n_permutations: int = N_PERMUTATIONS,
    account: int = 0,
) -> tuple[Comparison, ...]:
    """Run one account of an episode beside itself in three kinds of other orders, all as one batch.

    The episode began at row `start` of `panel` without positions. Costs are those of `rules`, its protections are off:
    what they sold is part of the path. Raises DataError when the episode is not one of these rows.
    """
    path = held_path(episode, panel, start, account)
    ways = _variants(path, panel.interval, n_permutations, seed)
    batch = [unchanged(path), *ways.values()]
    cash_usd = float(episode.equity_usd[0, account])
    worth = follow(path, batch, panel, start, rules, cash_usd=cash_usd)
    _require_the_same(worth[:, 0], episode.equity_usd[:, account])
    sharpe, gain = _sharpe(worth, panel.interval), worth[-1] / worth[0] - 1.0
    ends = np.cumsum([len(variants) for variants in batch])
    return tuple(
        Comparison(way, float(sharpe[0]), float(gain[0]), sharpe[first:last], gain[first:last])
        for way, first, last in zip(ways, ends[:-1], ends[1:], strict=True)
    )


def follow(
    path: HeldPath, batch: Sequence[Variants], panel: BarPanel, start: int, rules: Rules, *, cash_usd: float
) -> FloatArray:
    """Return what the accounts of all `batch` were worth at each close, (T + 1, N), from row `start` on."""
    policy = _Follower(path, batch, panel, start)
    n_accounts = sum(len(variants) for variants in batch)
    costs_only, last = rules.without_protection(), start + len(path)
    worth: list[FloatArray] = []
    accounts: Accounts | None = None
    for first in range(start, last, CHUNK_BARS):
        stop = min(first + CHUNK_BARS, last) + 1
        part = run(policy, panel, first, stop, costs_only, n_accounts=n_accounts, cash_usd=cash_usd, accounts=accounts)
        # The close that a part begins with is the one that the part before ended with.
        worth.append(part.equity_usd if accounts is None else part.equity_usd[1:])
        accounts = part.final
    return np.concatenate(worth)


class _Follower:
    """The policy of all accounts of a batch."""

    def __init__(self, path: HeldPath, batch: Sequence[Variants], panel: BarPanel, start: int) -> None:
        self._batch, self._start = batch, start
        # The first row is a decision, wherever it comes to lie: what was before it was something else.
        decided = path.decided.copy()
        decided[0] = True
        seam = np.where(path.weights[0] == path.weights[-1], np.nan, path.weights[0])
        self._wanted = np.vstack([np.where(decided, path.weights, np.nan), seam])
        self._held = np.vstack([path.weights, path.weights[0]])
        self._close_usd = torch.tensor(panel.close, dtype=torch.float64)

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        k = t - self._start
        table = self._wanted if k else self._held
        wanted = np.concatenate([table[variants.rows[k], variants.columns] for variants in self._batch])
        targets = torch.from_numpy(wanted)
        return torch.where(torch.isnan(targets), accounts.weights(self._close_usd[t]), targets)


def _variants(path: HeldPath, interval: Interval, n: int, seed: int) -> dict[Way, Variants]:
    rngs = [np.random.default_rng((seed, i)) for i in range(3)]
    return {
        "random_timing": shifted(path, interval.per_day + 1, n, rngs[0]),
        "entry_permutation": reentered(path, n, rngs[1]),
        "symbol_permutation": relabelled(path, n, rngs[2]),
    }


def _spells(is_held: BoolArray) -> tuple[IntArray, IntArray]:
    """Return where each run of equal rows in (T, A) begins, and how long it is."""
    changes = np.ones(len(is_held), dtype=bool)
    changes[1:] = (is_held[1:] != is_held[:-1]).any(axis=1)
    starts = np.flatnonzero(changes)
    return starts, np.diff(starts, append=len(is_held))


def _in_their_places(kinds: BoolArray, rng: np.random.Generator) -> IntArray:
    """Return an order of spells of two kinds: each kind among its own places by chance."""
    order = np.empty(len(kinds), dtype=np.int64)
    for kind in (False, True):
        places = np.flatnonzero(kinds == kind)
        order[places] = rng.permutation(places)
    return order


def _laid_out(starts: IntArray, lengths: IntArray, order: IntArray) -> IntArray:
    """Return the row that comes at each place when the segments follow each other in `order`; (T,)."""
    long = lengths[order]
    begins = np.cumsum(long) - long
    rows: IntArray = np.repeat(starts[order] - begins, long) + np.arange(long.sum())
    return rows


def _sharpe(worth_usd: FloatArray, interval: Interval) -> FloatArray:
    """Return the annualised Sharpe ratio of per-bar returns of each account, (T + 1, N) -> (N,); 0 without any."""
    returns = np.divide(worth_usd[1:], worth_usd[:-1], out=np.ones_like(worth_usd[1:]), where=worth_usd[:-1] > 0) - 1.0
    if len(returns) < 2:
        return np.zeros(worth_usd.shape[1])
    deviation = returns.std(axis=0, ddof=1)
    ratio = np.divide(returns.mean(axis=0), deviation, out=np.zeros_like(deviation), where=deviation > TIE**2)
    annual: FloatArray = ratio * math.sqrt(interval.per_year)
    return annual


def _require_the_same(followed_usd: FloatArray, own_usd: FloatArray) -> None:
    if followed_usd.shape != own_usd.shape:
        raise DataError(f"an episode of {len(own_usd)} closes was followed over {len(followed_usd)}; give its own rows")
    off = np.abs(followed_usd / np.where(own_usd > 0, own_usd, 1.0) - 1.0).max()
    if off > FOLLOWED_FRAC:
        raise DataError(
            f"an account that was followed ended up to {off:.2%} away from its own; give the panel, the row and the "
            "costs that it was run with"
        )
