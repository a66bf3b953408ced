"""What an account did in an episode, as rows: one per bar, one per fill."""

from __future__ import annotations

import numpy as np
import polars as pl

from cappuccino.market.panel import BarPanel, TimeArray
from cappuccino.validation.evaluate import EpisodeResult


def bar_rows(episode: EpisodeResult) -> pl.DataFrame:
    """Return the steps of the episode's first account: value at the close, exposure, costs, turnover, rules."""
    return pl.DataFrame(
        {
            "closed_at_utc": _times(episode.closed_at[1:]),
            "value_usd": episode.equity_usd[1:, 0],
            "exposure_frac": episode.weights[:, 0].sum(axis=1),
            "fee_usd": episode.fee_usd[:, 0].sum(axis=1),
            "slippage_usd": episode.slippage_usd[:, 0].sum(axis=1),
            "turnover_usd": episode.traded_usd[:, 0],
            "rules": episode.rules[:, 0],
        }
    )


def fill_rows(panel: BarPanel, start: int, episode: EpisodeResult) -> pl.DataFrame:
    """Return the fills of the first account of an episode that began at row `start` of `panel`."""
    step, asset = np.nonzero(episode.units[:, 0])
    return pl.DataFrame(
        {
            "filled_at_utc": _times(panel.opened_at[start + 1 + step]),
            "symbol": pl.Series([panel.symbols[a] for a in asset], dtype=pl.String),
            "units": episode.units[step, 0, asset],
            "price_usd": episode.price_usd[step, 0, asset],
            "fee_usd": episode.fee_usd[step, 0, asset],
            "slippage_usd": episode.slippage_usd[step, 0, asset],
            "realized_pnl_usd": episode.realized_pnl_usd[step, 0, asset],
        }
    )


def _times(moments: TimeArray) -> pl.Series:
    return pl.Series(moments.astype("datetime64[us]"), dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
