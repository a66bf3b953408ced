"""Where an account's gain came from: which symbols, which decisions, which costs. Each table adds up to the whole.

By factor, in the manner of Brinson, Hood & Beebower (1986), summed over the bars in USD; at each bar the account has
the value E and the exposure x (a share of E), and m is the mean return of all symbols:

    market      mean(x) * m * E          what always being exposed as much as on average would have earned
    timing      (x - mean(x)) * m * E    being exposed more before the market rose
    selection   (r - x * m) * E          holding other symbols than the market, r at the prices that were decided on
    delay       open[t+1] against close[t] on what was traded
    slippage    fills against the open, without impact
    impact, fees
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cappuccino.market.panel import BarPanel, FloatArray
from cappuccino.validation.evaluate import EpisodeResult

FACTORS = ("market", "timing", "selection", "delay", "slippage", "impact", "fees")


@dataclass(frozen=True)
class _Ledger:
    """One account's positions and what they brought, (T, A) in USD unless said otherwise."""

    value_usd: FloatArray
    """(T,) at the close that each step was decided on."""
    returns: FloatArray
    """From close to close."""
    position_usd: FloatArray
    """Held after the step's fills, at the price that was decided on."""
    paper_usd: FloatArray
    """Gain as if filled at the price that was decided on."""
    delay_usd: FloatArray
    slippage_usd: FloatArray
    """Without impact."""
    impact_usd: FloatArray
    fee_usd: FloatArray

    @property
    def pnl_usd(self) -> FloatArray:
        pnl: FloatArray = self.paper_usd - self.delay_usd - self.slippage_usd - self.impact_usd - self.fee_usd
        return pnl


def by_symbol(episode: EpisodeResult, panel: BarPanel, start: int, account: int = 0) -> pl.DataFrame:
    """Return one row a symbol: what it brought after costs, and how much of the time it was held.

    Columns: symbol, pnl_usd, return_contribution_frac (of the opening value), delay_usd, slippage_usd, impact_usd,
    fee_usd, held_frac (share of the bars), weight_frac (mean over all bars). The gains add up to the account's.
    """
    ledger = _ledger_of(episode, panel, start, account)
    pnl = ledger.pnl_usd.sum(axis=0)
    weights = episode.weights[:, account]
    return pl.DataFrame(
        {
            "symbol": list(panel.symbols),
            "pnl_usd": pnl,
            "return_contribution_frac": pnl / episode.equity_usd[0, account],
            "delay_usd": ledger.delay_usd.sum(axis=0),
            "slippage_usd": ledger.slippage_usd.sum(axis=0),
            "impact_usd": ledger.impact_usd.sum(axis=0),
            "fee_usd": ledger.fee_usd.sum(axis=0),
            "held_frac": (weights > 0).mean(axis=0),
            "weight_frac": weights.mean(axis=0),
        }
    )


def by_factor(episode: EpisodeResult, panel: BarPanel, start: int, account: int = 0) -> pl.DataFrame:
    """Return one row for each of `FACTORS`: factor, pnl_usd, return_contribution_frac; costs are negative.

    Together they are the account's gain.
    """
    ledger = _ledger_of(episode, panel, start, account)
    held_usd = ledger.position_usd.sum(axis=1)
    exposure = np.divide(held_usd, ledger.value_usd, out=np.zeros_like(held_usd), where=ledger.value_usd > 0)
    market = ledger.returns.mean(axis=1)
    usual_usd = exposure.mean() * market * ledger.value_usd
    amounts = {
        "market": usual_usd.sum(),
        "timing": (exposure * market * ledger.value_usd - usual_usd).sum(),
        "selection": ledger.paper_usd.sum() - (exposure * market * ledger.value_usd).sum(),
        "delay": -ledger.delay_usd.sum(),
        "slippage": -ledger.slippage_usd.sum(),
        "impact": -ledger.impact_usd.sum(),
        "fees": -ledger.fee_usd.sum(),
    }
    pnl = np.array([amounts[factor] for factor in FACTORS]) + 0.0  # no cost is 0, not -0
    return pl.DataFrame(
        {"factor": FACTORS, "pnl_usd": pnl, "return_contribution_frac": pnl / episode.equity_usd[0, account]}
    )


def by_cost(episode: EpisodeResult, panel: BarPanel, start: int, account: int = 0) -> pl.DataFrame:
    """Return one row for each part of the costs: cost, cost_usd, cost_frac (of the opening value), cost_bps (of what
    was traded); delay is negative where the market came our way."""
    ledger = _ledger_of(episode, panel, start, account)
    traded_usd = float(episode.traded_usd[:, account].sum())
    costs = {
        "fees": ledger.fee_usd.sum(),
        "slippage": ledger.slippage_usd.sum(),
        "impact": ledger.impact_usd.sum(),
        "delay": ledger.delay_usd.sum(),
    }
    amounts = np.array([*costs.values()])
    return pl.DataFrame(
        {
            "cost": list(costs),
            "cost_usd": amounts,
            "cost_frac": amounts / episode.equity_usd[0, account],
            "cost_bps": amounts / traded_usd * 10_000 if traded_usd else np.zeros(len(amounts)),
        }
    )


def by_month(values: pl.DataFrame, opening_usd: float) -> pl.DataFrame:
    """Return year, month, return_frac of each calendar month (UTC), of months in part the part.

    `values` is closed_at_utc, value_usd of one account in time order; a close at midnight belongs to the day before.
    """
    inside = pl.col("closed_at_utc").dt.offset_by("-1us")
    ends = values.group_by(year=inside.dt.year(), month=inside.dt.month(), maintain_order=True).agg(
        pl.col("value_usd").last()
    )
    before = pl.col("value_usd").shift(1, fill_value=opening_usd)
    return ends.select(
        pl.col("year").cast(pl.Int64), pl.col("month").cast(pl.Int64), return_frac=pl.col("value_usd") / before - 1
    )


def _ledger_of(episode: EpisodeResult, panel: BarPanel, start: int, account: int) -> _Ledger:
    n_steps = len(episode.units)
    decided, opened = panel.close[start : start + n_steps], panel.open[start + 1 : start + 1 + n_steps]
    marked = panel.close[start + 1 : start + 1 + n_steps]
    value = episode.equity_usd[:, account]
    held = episode.weights[:, account] * value[1:, None] / marked
    traded = episode.units[:, account]
    return _Ledger(
        value_usd=value[:-1],
        returns=marked / decided - 1.0,
        position_usd=held * decided,
        paper_usd=held * (marked - decided),
        delay_usd=traded * (opened - decided),
        slippage_usd=episode.slippage_usd[:, account] - episode.impact_usd[:, account],
        impact_usd=episode.impact_usd[:, account],
        fee_usd=episode.fee_usd[:, account],
    )
