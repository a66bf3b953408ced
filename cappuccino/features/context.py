"""Any feature on a longer interval than the agent's own: `rsi_14@4h` is the RSI of the newest closed 4-hour bar.

    15m bars    |--|--|--|--|--|--|--|--|--|
    4h bars     |<--------- A --------->|<------- B ...
                                        ^  from this close on, rows see A; B stays unseen until it has closed

Buckets are aligned on UTC. A longer bar is built as in market.bars_all: from a complete bucket, and where part of it is
missing (filled) the close of the last complete one stands in, with volume 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cappuccino.errors import ConfigError
from cappuccino.features.feature import Feature
from cappuccino.market.interval import Interval
from cappuccino.market.panel import PRICE_COLUMNS, BarPanel, BoolArray, FloatArray

MARK = "@"
_TIME_OF_THEIR_OWN = ("day_of_week", "time_of_day", "trend_1d", "trend_4h")


def named(name: str, key: str, make: Callable[[str], Feature]) -> Feature:
    """Return what `make` says of `name`, on the longer interval if one follows its `@`.

    Raises ConfigError naming the configuration `key` when there is no such interval, or nothing to see on it.
    """
    base, mark, interval = name.partition(MARK)
    if not mark:
        return make(name)
    longer = [one for one in Interval if one is not Interval.M1]
    if interval not in longer:
        found = "the shortest bar" if interval == Interval.M1 else f"no interval ({interval!r})"
        raise ConfigError(
            f"{key}: {name!r} looks at {found}; write {base} for the agent's own bars, or one of "
            f"{', '.join(f'{base}{MARK}{one}' for one in longer)}"
        )
    if base in _TIME_OF_THEIR_OWN:
        raise ConfigError(f"{key}: {base} says when by itself, found {name!r}; write {base}")
    return in_context(make(base), Interval(interval))


def in_context(feature: Feature, longer: Interval) -> Feature:
    """Return `feature` of the newest bar of `longer` that had closed with each bar; names end with its length.

    An agent whose own bars are as long as `longer`, or longer, gets the feature of its own bars, so that one
    configuration fits every interval of a search. Warm-up is that of the feature in bars of `longer`, and one more:
    `rsi_14@1d` costs the first 201 days of a record.
    """

    def warmup_bars(interval: Interval) -> int:
        if interval.us >= longer.us:
            return feature.warmup_bars(interval)
        return (feature.warmup_bars(longer) + 1) * (longer.us // interval.us)

    def compute(panel: BarPanel) -> FloatArray:
        if panel.interval.us >= longer.us:
            return feature.compute(panel)
        return newest_closed(feature.compute(longer_bars(panel, longer)), _ends_complete_bucket(panel, longer))

    return Feature(tuple(f"{name}_{longer}" for name in feature.names), warmup_bars, compute)


def ends_bucket(panel: BarPanel, longer: Interval) -> BoolArray:
    """Return the rows with which a bar of `longer` closes, (T,); every row where the panel's are no shorter."""
    closed_us = panel.closed_at.astype("datetime64[us]").astype(np.int64)
    ends: BoolArray = closed_us % max(longer.us, panel.interval.us) == 0
    return ends


def newest_closed(columns: FloatArray, is_new: BoolArray) -> FloatArray:
    """Spread row j of `columns` from the j-th true of `is_new` to before the next; NaN before the first."""
    position = np.cumsum(is_new) - 1
    before_first = np.full((1, *columns.shape[1:]), np.nan)
    # Position -1 reads the NaN row at the end.
    spread: FloatArray = np.concatenate([columns, before_first])[position]
    return spread


def longer_bars(panel: BarPanel, longer: Interval) -> BarPanel:
    """Return the bars of `longer` whose buckets lie in the panel as a whole, without its inputs.

    A bar that is filled before any complete one is made of its parts: what was before it is not in the panel.
    """
    n_parts = longer.us // panel.interval.us
    last_parts = np.flatnonzero(_ends_complete_bucket(panel, longer))
    first, stop = (last_parts[0] + 1 - n_parts, last_parts[-1] + 1) if len(last_parts) else (0, 0)
    shape = (len(last_parts), n_parts, len(panel.symbols))
    parts = {name: getattr(panel, name)[first:stop].reshape(shape) for name in (*PRICE_COLUMNS, "is_filled")}
    whole = {
        "open": parts["open"][:, 0],
        "high": parts["high"].max(axis=1),
        "low": parts["low"].min(axis=1),
        "close": parts["close"][:, -1],
        "volume": parts["volume"].sum(axis=1),
    }
    is_filled = parts["is_filled"].any(axis=1)
    columns = _with_stand_ins(whole, is_filled)
    opened_at = panel.opened_at[first:stop:n_parts]
    return BarPanel(longer, panel.symbols, opened_at, **columns, is_filled=is_filled, inputs={})


def _ends_complete_bucket(panel: BarPanel, longer: Interval) -> BoolArray:
    ends = ends_bucket(panel, longer)
    ends[: longer.us // panel.interval.us - 1] = False  # their buckets began before the panel
    return ends


def _with_stand_ins(whole: dict[str, FloatArray], is_filled: BoolArray) -> dict[str, FloatArray]:
    """Replace filled bars by the close of the last complete one before them, with volume 0; (T', A) each."""
    rows = np.arange(len(is_filled))[:, None]
    complete = np.maximum.accumulate(np.where(is_filled, -1, rows), axis=0)
    stands_in = is_filled & (complete >= 0)
    last_close = np.take_along_axis(whole["close"], np.maximum(complete, 0), axis=0)
    return {
        name: np.where(stands_in, 0.0 if name == "volume" else last_close, values) for name, values in whole.items()
    }
