"""Bars of several symbols on one grid: what features, engine and traders compute with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from cappuccino.clock import require_utc
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
TimeArray = npt.NDArray[np.datetime64]

PRICE_COLUMNS = ("open", "high", "low", "close", "volume")


def as_datetime64(moment: datetime) -> np.datetime64:
    """Return an aware datetime as naive UTC `datetime64[us]`."""
    return np.datetime64(require_utc(moment).replace(tzinfo=None), "us")


def as_datetime(moment: np.datetime64) -> datetime:
    """Return a `datetime64` (UTC) as an aware datetime."""
    naive: datetime = moment.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)


@dataclass(frozen=True)
class BarPanel:
    """Bars of A symbols at T consecutive opens, without a hole: row t of every array is one bar.

    `opened_at` is (T,) datetime64[us] in UTC, each `interval` after the one before; prices in quote currency
    and volume in base units are (T, A) float64 without NaN; `is_filled` is (T, A), true where no trade was
    recorded and the bar repeats the last close with volume 0. `inputs` are columns beside the bars by name, (T, A)
    each, as they were known at the close; see market/inputs.py.
    """

    interval: Interval
    symbols: tuple[str, ...]
    opened_at: TimeArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    is_filled: BoolArray
    inputs: Mapping[str, FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.opened_at)

    @property
    def closed_at(self) -> TimeArray:
        """(T,) the moment from which each bar is known."""
        return self.opened_at + np.timedelta64(self.interval.us, "us")

    def rows(self, start: int, stop: int) -> BarPanel:
        """Return bars [start, stop) by position; negative positions are not allowed."""
        if not 0 <= start <= stop <= len(self):
            raise ValueError(f"rows [{start}, {stop}) of a panel of {len(self)}")
        cut = {name: getattr(self, name)[start:stop] for name in ("opened_at", *PRICE_COLUMNS, "is_filled")}
        inputs = {name: values[start:stop] for name, values in self.inputs.items()}
        return BarPanel(self.interval, self.symbols, **cut, inputs=inputs)

    def between(self, start: datetime, stop: datetime) -> BarPanel:
        """Return the bars that opened in [start, stop)."""
        first, last = np.searchsorted(self.opened_at, [as_datetime64(start), as_datetime64(stop)])
        return self.rows(int(first), max(int(first), int(last)))

    def known_at(self, now: datetime) -> BarPanel:
        """Return the bars that had closed at `now`."""
        return self.rows(0, int(np.searchsorted(self.closed_at, as_datetime64(now), side="right")))

    def fingerprint(self) -> str:
        """Return a hash of every number in the panel: equal bars and inputs, equal fingerprint."""
        digest = hashlib.blake2b(repr((self.interval.value, self.symbols)).encode(), digest_size=12)
        for name in ("opened_at", *PRICE_COLUMNS, "is_filled"):
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        for name, values in sorted(self.inputs.items()):  # without any, the fingerprint is that of the bars
            digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


def panel_from_frame(frame: pl.DataFrame, symbols: tuple[str, ...], interval: Interval) -> BarPanel:
    """Return the panel of `symbols` over the range in which all of them have bars.

    `frame` has columns symbol, opened_at_utc, open, high, low, close, volume, is_filled. Raises DataError
    naming the symbol when one is absent, and symbol and time when a bar is missing, repeated or NaN inside
    the common range.
    """
    start, stop = _common_range(frame, symbols, interval)
    n_bars = (stop - start) // interval.duration + 1
    opened_at = as_datetime64(start) + np.arange(n_bars) * np.timedelta64(interval.us, "us")
    # One pass over all rows: a filter for each of a hundred symbols would be a hundred.
    in_range = frame.filter(pl.col("opened_at_utc").is_between(start, stop)).partition_by("symbol", as_dict=True)
    columns: dict[str, FloatArray] = {name: np.empty((n_bars, len(symbols))) for name in PRICE_COLUMNS}
    is_filled = np.empty((n_bars, len(symbols)), dtype=bool)
    for a, symbol in enumerate(symbols):
        rows = in_range.pop((symbol,), frame.clear()).sort("opened_at_utc")
        _require_grid(rows, opened_at, f"{symbol} {interval}")
        for name, values in columns.items():
            values[:, a] = rows[name].to_numpy()
        is_filled[:, a] = rows["is_filled"].to_numpy()
    panel = BarPanel(interval, symbols, opened_at, **columns, is_filled=is_filled, inputs={})
    _require_numbers(panel)
    return panel


def _common_range(frame: pl.DataFrame, symbols: tuple[str, ...], interval: Interval) -> tuple[datetime, datetime]:
    """Return the opens of the first and the last bar that all symbols may have."""
    spans = {
        str(symbol): (first, last)
        for symbol, first, last in frame.group_by("symbol")
        .agg(pl.col("opened_at_utc").min().alias("first"), pl.col("opened_at_utc").max().alias("last"))
        .iter_rows()
    }
    absent = [symbol for symbol in symbols if symbol not in spans]
    if absent:
        found = ", ".join(sorted(spans)) or "none"
        raise DataError(
            f"no {interval} bars for {', '.join(absent)}; the warehouse has {found}. "
            "Sync bars, or change market.symbols"
        )
    start = max(spans[symbol][0] for symbol in symbols)
    stop = min(spans[symbol][1] for symbol in symbols)
    if stop < start:
        raise DataError(f"the {interval} bars of {', '.join(symbols)} have no time in common; sync a longer range")
    return start, stop


def _require_grid(rows: pl.DataFrame, opened_at: TimeArray, what: str) -> None:
    times = rows["opened_at_utc"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    if np.array_equal(times, opened_at):
        return
    common = min(len(times), len(opened_at))
    differs = np.flatnonzero(times[:common] != opened_at[:common])
    where = opened_at[differs[0] if len(differs) else min(common, len(opened_at) - 1)]
    raise DataError(f"{what}: expected one bar at {where} UTC, found a hole or a repeated bar; run the quality checks")


def _require_numbers(panel: BarPanel) -> None:
    for name in PRICE_COLUMNS:
        bad = np.argwhere(~np.isfinite(getattr(panel, name)))
        if len(bad):
            t, a = bad[0]
            raise DataError(
                f"{panel.symbols[a]} {panel.interval}: {name} of the bar at {panel.opened_at[t]} UTC "
                "is not a number; sync that day again"
            )
