"""What an account did, fill by fill and trade by trade, and what each cost: pure frames of an episode.

A trade is a round trip of one symbol: from the fill that opens a position until the one that leaves nothing of it,
whatever was bought and sold in between at the average entry price. One that is open at the end is marked at the last
close, so that the net gains of all trades together are the change of the account's value.

The cost of a fill is its implementation shortfall (Perold 1988): what it was worse than the price it was decided on.

    shortfall = delay (open[t+1] against close[t]) + slippage (fill against open[t+1], impact included) + fee
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from cappuccino.market.panel import BarPanel, FloatArray, TimeArray
from cappuccino.risk.rules import Rule
from cappuccino.validation.evaluate import EpisodeResult

END_OF_RANGE: Final = "end_of_range"
AGENT: Final = "agent"
_SELLS_ALL = (Rule.TRAILING_STOP, Rule.MOVE_TO_CASH)
_SELLS_ONE = (Rule.STOP_LOSS, Rule.POSITION_TRAILING_STOP)
_BPS = 10_000.0


def fills_of(episode: EpisodeResult, panel: BarPanel, start: int, account: int = 0) -> pl.DataFrame:
    """Return every fill of one account of an episode that began at row `start` of `panel`, with what it cost.

    Columns: filled_at_utc, symbol, units (signed), decision_usd (the close that was decided on), market_usd (the open
    that was filled at), price_usd, delay_usd, slippage_usd, impact_usd (a part of slippage), fee_usd, shortfall_usd,
    slippage_bps (of the market's price), shortfall_bps (of the decision's price), realized_pnl_usd. Delay may be
    negative: the market came our way.
    """
    step, asset = np.nonzero(episode.units[:, account])
    decision, market = panel.close[start + step, asset], panel.open[start + 1 + step, asset]
    units = episode.units[step, account, asset]
    frame = pl.DataFrame(
        {
            "filled_at_utc": utc(panel.opened_at[start + 1 + step]),
            "symbol": pl.Series([panel.symbols[a] for a in asset], dtype=pl.String),
            "units": units,
            "decision_usd": decision,
            "market_usd": market,
            "price_usd": episode.price_usd[step, account, asset],
            "delay_usd": units * (market - decision),
            "slippage_usd": episode.slippage_usd[step, account, asset],
            "impact_usd": episode.impact_usd[step, account, asset],
            "fee_usd": episode.fee_usd[step, account, asset],
        }
    )
    shortfall = pl.col("delay_usd") + pl.col("slippage_usd") + pl.col("fee_usd")
    size = pl.col("units").abs()
    return frame.with_columns(
        shortfall_usd=shortfall,
        slippage_bps=pl.col("slippage_usd") / (size * pl.col("market_usd")) * _BPS,
        shortfall_bps=shortfall / (size * pl.col("decision_usd")) * _BPS,
        realized_pnl_usd=pl.Series(episode.realized_pnl_usd[step, account, asset]),
    )


def trades_of(episode: EpisodeResult, panel: BarPanel, start: int, account: int = 0) -> pl.DataFrame:
    """Return the round trips of one account of an episode that began at row `start` of `panel` without positions.

    Columns: trade (from 1, in the order of opening), symbol, opened_at_utc, closed_at_utc (the last close when it is
    still open), ended_by, n_bars, n_fills, units (bought in all), entry_usd and exit_usd (mean prices; the last close
    for what is left), gross_pnl_usd (at the market's prices), fee_usd, slippage_usd, impact_usd, net_pnl_usd,
    return_frac (net, of what was paid), worst_frac and best_frac (of the entry price, at lows and highs while held).

    `ended_by` is agent, end_of_range, or the rule that fired: trailing_stop, move_to_cash, stop_loss,
    position_trailing_stop. The last two are known for the account: where several positions end together, each that
    stands where the rule can have fired gets its name.
    """
    legs = _legs(episode, panel, start, account)
    if legs.is_empty():
        return _no_trades()
    trips = legs.group_by("asset", "trip").agg(
        opened=pl.col("step").first(),
        closed=pl.col("step").last(),
        is_open=pl.col("held_after").last(),
        n_fills=pl.len(),
        units=pl.col("units").clip(lower_bound=0).sum(),
        bought_usd=pl.col("paid_usd").clip(lower_bound=0).sum(),
        sold_usd=-pl.col("paid_usd").clip(upper_bound=0).sum(),
        market_usd=pl.col("market_usd").sum(),
        bought_fee_usd=pl.col("fee_usd").filter(pl.col("units") > 0).sum(),
        fee_usd=pl.col("fee_usd").sum(),
        slippage_usd=pl.col("slippage_usd").sum(),
        impact_usd=pl.col("impact_usd").sum(),
    )
    trips = trips.sort("opened", "asset")
    last = len(episode.units) - 1
    asset = trips["asset"].to_numpy()
    left_usd = np.where(trips["is_open"], episode.weights[last, account, asset] * episode.equity_usd[-1, account], 0.0)
    trips = trips.with_columns(
        left_usd=pl.Series(left_usd),
        entry_usd=pl.col("bought_usd") / pl.col("units"),
        net_pnl_usd=pl.col("sold_usd") + pl.Series(left_usd) - pl.col("bought_usd") - pl.col("fee_usd"),
    )
    worst, best = _excursions(trips, panel, start, last)
    frame = trips.select(
        trade=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        symbol=pl.Series([panel.symbols[a] for a in asset], dtype=pl.String),
        opened_at_utc=utc(panel.opened_at[start + 1 + trips["opened"].to_numpy()]),
        closed_at_utc=_closed_at(trips, panel, start, last),
        ended_by=_endings(trips, episode, panel, start, account),
        n_bars=pl.when("is_open").then(last + 1 - pl.col("opened")).otherwise(pl.col("closed") - pl.col("opened")),
        n_fills=pl.col("n_fills").cast(pl.Int64),
        units=pl.col("units"),
        entry_usd=pl.col("entry_usd"),
        exit_usd=(pl.col("sold_usd") + pl.col("left_usd")) / pl.col("units"),
        gross_pnl_usd=pl.col("left_usd") - pl.col("market_usd"),
        fee_usd=pl.col("fee_usd"),
        slippage_usd=pl.col("slippage_usd"),
        impact_usd=pl.col("impact_usd"),
        net_pnl_usd=pl.col("net_pnl_usd"),
        return_frac=pl.col("net_pnl_usd") / (pl.col("bought_usd") + pl.col("bought_fee_usd")),
        worst_frac=pl.Series(worst),
        best_frac=pl.Series(best),
    )
    return frame.cast({"n_bars": pl.Int64})


def utc(moments: TimeArray) -> pl.Series:
    """Return naive UTC times as aware ones."""
    return pl.Series(moments.astype("datetime64[us]"), dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")


def _legs(episode: EpisodeResult, panel: BarPanel, start: int, account: int) -> pl.DataFrame:
    """Return the fills with the trip of their symbol that they belong to, in time order."""
    is_held = episode.weights[:, account] > 0
    was_held = np.vstack([np.zeros_like(is_held[:1]), is_held[:-1]])
    trip = np.cumsum(is_held & ~was_held, axis=0)
    step, asset = np.nonzero(episode.units[:, account])
    units = episode.units[step, account, asset]
    return pl.DataFrame(
        {
            "step": step,
            "asset": asset,
            "trip": trip[step, asset],
            "held_after": is_held[step, asset],
            "units": units,
            "paid_usd": units * episode.price_usd[step, account, asset],
            "market_usd": units * panel.open[start + 1 + step, asset],
            "fee_usd": episode.fee_usd[step, account, asset],
            "slippage_usd": episode.slippage_usd[step, account, asset],
            "impact_usd": episode.impact_usd[step, account, asset],
        }
    )


def _closed_at(trips: pl.DataFrame, panel: BarPanel, start: int, last: int) -> pl.Series:
    closed = panel.opened_at[start + 1 + trips["closed"].to_numpy()]
    return utc(np.where(trips["is_open"], panel.closed_at[start + 1 + last], closed))


def _excursions(trips: pl.DataFrame, panel: BarPanel, start: int, last: int) -> tuple[FloatArray, FloatArray]:
    """Return how far price fell and rose from the entry while each trip was held, at lows and highs of whole bars.

    Of the bar in which a position is sold only the open counts, where it was sold.
    """
    opened, closed = trips["opened"].to_numpy(), trips["closed"].to_numpy()
    first = start + 1 + opened
    end = np.where(trips["is_open"], start + 2 + last, start + 1 + closed)
    asset, entry = trips["asset"].to_numpy(), trips["entry_usd"].to_numpy()
    worst, best = np.empty(len(trips)), np.empty(len(trips))
    for a in np.unique(asset):
        own = asset == a
        worst[own] = _over_bars(np.minimum, panel.low[:, a], first[own], end[own])
        best[own] = _over_bars(np.maximum, panel.high[:, a], first[own], end[own])
    out = np.where(trips["is_open"], panel.close[start + 1 + last, asset], panel.open[start + 1 + closed, asset])
    return np.minimum(worst, out) / entry - 1.0, np.maximum(best, out) / entry - 1.0


def _over_bars(
    extreme: np.ufunc, prices: FloatArray, first: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> FloatArray:
    """Return the extreme of `prices` over each [first, end)."""
    # One more row, because an index may not be the length.
    edges = np.column_stack([first, end]).ravel()
    found: FloatArray = extreme.reduceat(np.append(prices, prices[-1]), edges)[::2]
    return found


def _endings(trips: pl.DataFrame, episode: EpisodeResult, panel: BarPanel, start: int, account: int) -> pl.Series:
    closed, asset = trips["closed"].to_numpy(), trips["asset"].to_numpy()
    flags, decided = episode.rules[closed, account], panel.close[start + closed, asset]
    can_have_fired = {Rule.STOP_LOSS: decided < trips["entry_usd"].to_numpy()}
    fired = {rule: (flags & rule.value) != 0 for rule in (*_SELLS_ALL, *_SELLS_ONE)}
    conditions = [trips["is_open"].to_numpy(), *(fired[rule] & can_have_fired.get(rule, True) for rule in fired)]
    names = [END_OF_RANGE, *(str(rule.name).lower() for rule in fired)]
    return pl.Series(np.select(conditions, names, default=AGENT).tolist(), dtype=pl.String)


def _no_trades() -> pl.DataFrame:
    time = pl.Datetime("us", "UTC")
    words = {"symbol": pl.String(), "opened_at_utc": time, "closed_at_utc": time, "ended_by": pl.String()}
    counts = dict.fromkeys(("n_bars", "n_fills"), pl.Int64())
    figures = dict.fromkeys(
        (
            "units",
            "entry_usd",
            "exit_usd",
            "gross_pnl_usd",
            "fee_usd",
            "slippage_usd",
            "impact_usd",
            "net_pnl_usd",
            "return_frac",
            "worst_frac",
            "best_frac",
        ),
        pl.Float64(),
    )
    return pl.DataFrame(schema={"trade": pl.Int64(), **words, **counts, **figures})
