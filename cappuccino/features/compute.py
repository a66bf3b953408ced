"""Features of a panel, so that training and trading see the same bits.

Recursive indicators remember their first bar. To make a value depend on the market alone, and not on where
somebody's history begins or ends, time is cut into blocks that are counted from 1970, and each block is
computed from its own warm-up on, always over the same number of rows: bars that are still to come are filled
with the last one, which no causal feature can notice, but which keeps every numerical kernel on the same
path.

    ... | block k-1 | block k  t       | ...        row t needs the warm-up before block k, and block k up to
    t
              [warm-up][........t.pad..]
"""

from __future__ import annotations

from datetime import datetime
from weakref import ReferenceType, ref

import numpy as np

from cappuccino.errors import DataError
from cappuccino.features.feature import Feature
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import EPOCH, Interval
from cappuccino.market.panel import PRICE_COLUMNS, BarPanel, FloatArray

BLOCK_DAYS = 20
"""A record loses up to this much behind its warm-up; shorter blocks cost time."""
MAX_BLOCK_BARS = 2880


def block_bars(interval: Interval) -> int:
    """Return the number of bars of a block."""
    return min(BLOCK_DAYS * interval.per_day, MAX_BLOCK_BARS)


_known: dict[tuple[int, FeatureSpec], tuple[ReferenceType[BarPanel], FloatArray]] = {}
"""What was computed for panels that are still there: dozens of models trade one panel, and all see the same."""


def compute(panel: BarPanel, spec: FeatureSpec) -> FloatArray:
    """Return the features of each bar; (T, A, F), NaN in rows that lack full warm-up in the panel, finite
    after. Equal calls share one array, which is read-only.

    Row t uses bars up to t only, and is the same bit for bit wherever the panel starts (early enough) and
    ends. Raises DataError naming symbol and time of a price that is not positive, a volume that is negative,
    or a NaN.
    """
    key = (id(panel), spec)
    if key in _known and _known[key][0]() is panel:
        return _known[key][1]
    values = _computed(panel, spec)
    values.flags.writeable = False
    _known[key] = (ref(panel, lambda _: _known.pop(key, None)), values)
    return values


def _computed(panel: BarPanel, spec: FeatureSpec) -> FloatArray:
    _require_sound(panel)
    n_block = block_bars(panel.interval)
    values = np.full((*panel.close.shape, len(spec.names)), np.nan)
    for start in range(first_row(panel, spec), len(panel), n_block):
        stop = min(start + n_block, len(panel))
        columns = [_compute_block(panel, start, stop, feature) for feature in spec.features]
        values[start:stop] = np.concatenate(columns, axis=-1)
    return values


def _compute_block(panel: BarPanel, start: int, stop: int, feature: Feature) -> FloatArray:
    """Return rows [start, stop) of one family, from its own warm-up on; `start` begins a block."""
    warmup = feature.warmup_bars(panel.interval)
    block = _padded(panel.rows(start - warmup, stop), warmup + block_bars(panel.interval))
    return feature.compute(block)[warmup : warmup + stop - start]


def first_row(panel: BarPanel, spec: FeatureSpec) -> int:
    """Return the position of the first row that has features; it may lie behind the end of the panel."""
    if not len(panel):
        return 0
    n_block = block_bars(panel.interval)
    earliest = _bar_index(panel, 0) + spec.warmup_bars(panel.interval)
    return -(-earliest // n_block) * n_block - _bar_index(panel, 0)


def compute_latest(panel: BarPanel, spec: FeatureSpec) -> FloatArray:
    """Return the features of the newest bar, (A, F): the last row of `compute`, for the price of one block.

    Raises DataError when the panel does not reach back far enough.
    """
    latest: FloatArray = compute_tail(panel, spec, 1)[0]
    return latest


def compute_tail(panel: BarPanel, spec: FeatureSpec, n_rows: int) -> FloatArray:
    """Return the features of the newest `n_rows` bars, (n_rows, A, F), bit-equal to the last rows of
    `compute`.

    Raises DataError when the panel does not reach back far enough (`live_start` says how far).
    """
    oldest = len(panel) - n_rows
    if n_rows < 1 or oldest < 0 or first_row(panel, spec) > oldest:
        raise DataError(
            f"{len(panel)} {panel.interval} bars are too few for the features of the last {n_rows}; "
            f"{live_history_bars(spec, panel.interval, n_rows)} always suffice, sync a longer range"
        )
    start = _block_start(_bar_index(panel, oldest), panel.interval) - spec.warmup_bars(panel.interval)
    needed = panel.rows(start - _bar_index(panel, 0), len(panel))
    return compute(needed, spec)[-n_rows:]


def live_start(spec: FeatureSpec, interval: Interval, now: datetime, n_rows: int = 1) -> datetime:
    """Return the open of the oldest bar that the features of the last `n_rows` bars closed at `now` need."""
    newest = (interval.last_open(now) - EPOCH) // interval.duration
    start = _block_start(newest - n_rows + 1, interval) - spec.warmup_bars(interval)
    return EPOCH + start * interval.duration


def live_history_bars(spec: FeatureSpec, interval: Interval, n_rows: int = 1) -> int:
    """Return how many bars always suffice for the features of the newest `n_rows`, whatever the moment."""
    return spec.warmup_bars(interval) + block_bars(interval) + n_rows - 1


def _block_start(bar_index: int, interval: Interval) -> int:
    return bar_index // block_bars(interval) * block_bars(interval)


def _bar_index(panel: BarPanel, t: int) -> int:
    """Return the number of whole bars from 1970 to the open of row t."""
    return int(panel.opened_at[0].astype("datetime64[us]").astype(np.int64)) // panel.interval.us + t


def _padded(panel: BarPanel, n_bars: int) -> BarPanel:
    """Return the panel continued to `n_bars` by its last bar."""
    n_missing = n_bars - len(panel)
    if n_missing == 0:
        return panel
    step = np.timedelta64(panel.interval.us, "us")
    later = panel.opened_at[-1] + step * np.arange(1, n_missing + 1)
    repeated = {
        name: np.concatenate([getattr(panel, name), np.repeat(getattr(panel, name)[-1:], n_missing, axis=0)])
        for name in (*PRICE_COLUMNS, "is_filled")
    }
    inputs = {
        name: np.concatenate([values, np.repeat(values[-1:], n_missing, axis=0)])
        for name, values in panel.inputs.items()
    }
    opened_at = np.concatenate([panel.opened_at, later])
    return BarPanel(panel.interval, panel.symbols, opened_at, **repeated, inputs=inputs)


def _require_sound(panel: BarPanel) -> None:
    if len(panel) and int(panel.opened_at[0].astype("datetime64[us]").astype(np.int64)) % panel.interval.us:
        raise DataError(f"the bar at {panel.opened_at[0]} UTC does not open on the {panel.interval} grid; resample it")
    for name in PRICE_COLUMNS:
        values = getattr(panel, name)
        sound = np.isfinite(values) & ((values >= 0) if name == "volume" else (values > 0))
        if not sound.all():
            t, a = np.argwhere(~sound)[0]
            raise DataError(
                f"{panel.symbols[a]} {panel.interval}: {name} of the bar at {panel.opened_at[t]} UTC is "
                f"{values[t, a]}; sync that day again"
            )
