"""The measures of an account that was judged on several stretches of bars, starting anew on each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cappuccino.market.panel import BarPanel, FloatArray, TimeArray
from cappuccino.portfolio.measures import Activity, Measures, daily_returns, measure
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.evaluate import EpisodeResult


@dataclass(frozen=True)
class DailyReturns:
    """Compounded net returns of whole days, counted from the first bar of each stretch."""

    closed_at: TimeArray
    """(D,) end of each day."""
    returns: FloatArray
    """(D,)."""


def joined_measures(
    panel: BarPanel, segments: Sequence[tuple[int, int]], episodes: Sequence[EpisodeResult], account: int = 0
) -> Measures:
    """Return the measures of one account over the rows [start, stop) of all `segments`, one episode for each.

    Returns are joined, prices are not: no bar's return is taken across a gap.
    """
    returns = np.concatenate([episode.returns[:, account] for episode in episodes])
    benchmark = np.concatenate([benchmark_returns(panel, *segment) for segment in segments])
    return measure(returns, benchmark, panel.interval, _joined_activity(episodes, account))


def joined_daily(episodes: Sequence[EpisodeResult], account: int = 0) -> DailyReturns:
    """Return the daily returns of one account over all `episodes`."""
    days, ends = [], []
    for episode in episodes:
        returns = daily_returns(episode.returns[:, account], episode.interval)
        days.append(returns)
        per_day = episode.interval.per_day
        ends.append(episode.closed_at[per_day::per_day][: len(returns)])
    return DailyReturns(np.concatenate(ends), np.concatenate(days))


def equity_sha256(episodes: Sequence[EpisodeResult]) -> str:
    """Return a hash of the bits of every equity curve, for comparing with a repetition."""
    digest = hashlib.sha256()
    for episode in episodes:
        digest.update(np.ascontiguousarray(episode.equity_usd).tobytes())
    return digest.hexdigest()


def _joined_activity(episodes: Sequence[EpisodeResult], account: int) -> Activity:
    parts = [episode.activity(account) for episode in episodes]
    n_bars = np.array([len(episode.returns) for episode in episodes])
    return Activity(
        trade_pnls_usd=np.concatenate([part.trade_pnls_usd for part in parts]),
        n_fills=sum(part.n_fills for part in parts),
        turnover_frac=sum(part.turnover_frac for part in parts),
        exposure_frac=float(np.average([part.exposure_frac for part in parts], weights=n_bars)),
        fees_usd=sum(part.fees_usd for part in parts),
        slippage_usd=sum(part.slippage_usd for part in parts),
    )
