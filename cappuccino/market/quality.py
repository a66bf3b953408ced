"""What is wrong with bars, as figures: one row per check and symbol, pure and vectorised.

    check            severity  a bar is bad when
    missing_symbols  error     (the symbol) it has no bar at all
    gaps             warn      it is absent between the symbol's first and last one
    duplicates       error     it repeats its symbol's time, or is not on the interval's grid
    ohlc_order       error     not low <= open, close <= high
    non_positive     error     a price is not above zero, volume is below, or a number is missing or infinite
    zero_volume      warn      nothing was traded in it
    jumps            warn      |ln(close / previous close)| is above `max_jump_log`; never across a gap
    stale            error     (the symbol) the newest complete one opened too long ago
    filled_share     error     (the symbol) too many are absent between first and last, or marked as filled

The frame may be anything that a source or a table gave: no order, no uniqueness and no values are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import polars as pl

from cappuccino.clock import require_utc
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.source import BAR_SCHEMA, PRICES, utc_text
from cappuccino.settings import MarketSettings

Severity = Literal["warn", "error"]

SEVERITIES: dict[str, Severity] = {
    "missing_symbols": "error",
    "gaps": "warn",
    "duplicates": "error",
    "ohlc_order": "error",
    "non_positive": "error",
    "zero_volume": "warn",
    "jumps": "warn",
    "stale": "error",
    "filled_share": "error",
}

MEANINGS: dict[str, str] = {
    "missing_symbols": "Every configured symbol has bars.",
    "gaps": "No bar is absent between a symbol's first and last one.",
    "duplicates": "Each time comes once, and on the interval's grid.",
    "ohlc_order": "low <= open, close <= high.",
    "non_positive": "Prices are above zero, volume is not below, and all are numbers.",
    "zero_volume": "Something was traded in every bar.",
    "jumps": "No close is further from the one before than `market.max_jump_log`.",
    "stale": "The newest complete bar is no older than two intervals and the grace time.",
    "filled_share": "No more bars are filled than `market.max_filled_frac`.",
}

RESULT_SCHEMA: dict[str, pl.DataType] = {
    "check": pl.String(),
    "symbol": pl.String(),
    "severity": pl.String(),
    "passed": pl.Boolean(),
    "n_bad": pl.Int64(),
    "n_checked": pl.Int64(),
    "figure": pl.Float64(),
    "detail": pl.String(),
}


class Finding(NamedTuple):
    """What one check says about one symbol."""

    check: str
    symbol: str
    severity: Severity
    passed: bool
    n_bad: int
    n_checked: int
    figure: float
    detail: str


@dataclass(frozen=True)
class _Frame:
    """The bars in question, in the three forms that checks need."""

    interval: Interval
    rows: pl.DataFrame
    """All rows of the range."""
    grid: pl.DataFrame
    """One row for each time on the grid, sorted by symbol and time, with `step` to the one before."""

    def of(self, symbol: str) -> _Frame:
        mine = pl.col("symbol") == symbol
        return _Frame(self.interval, self.rows.filter(mine), self.grid.filter(mine))

    @property
    def n_expected(self) -> int:
        """Bars from the first to the last one, if none were absent."""
        if self.grid.is_empty():
            return 0
        first, last = self.grid["opened_at_utc"][0], self.grid["opened_at_utc"][-1]
        length: timedelta = last - first
        return length // self.interval.duration + 1

    @property
    def n_absent(self) -> int:
        return self.n_expected - len(self.grid)


def check(
    frame: pl.DataFrame,
    symbols: tuple[str, ...],
    interval: Interval,
    start: datetime,
    stop: datetime,
    now: datetime,
    settings: MarketSettings,
) -> pl.DataFrame:
    """Return the findings of all checks about the bars of `symbols` that opened in [start, stop).

    `frame` has the columns of BAR_SCHEMA, and `is_filled` if filled bars are among them. The result has a row
    per check and symbol: check, symbol, severity, passed, n_bad, n_checked, figure (a share, or the size that
    is compared with a limit) and detail (the worst place, for people). Staleness is judged at `now`: for a
    range of the past, pass its end. Raises DataError when a column is absent, of another type, or names no
    symbol.
    """
    bars = _prepare(frame, symbols, interval, start, stop)
    present = require_utc(now)
    findings = []
    for symbol in symbols:
        mine = bars.of(symbol)
        findings += [
            _missing(mine, symbol),
            _gaps(mine, symbol),
            _duplicates(mine, symbol),
            _ohlc_order(mine, symbol),
            _non_positive(mine, symbol),
            _zero_volume(mine, symbol),
            _jumps(mine, symbol, settings.max_jump_log),
            _stale(mine, symbol, require_utc(start), present, timedelta(minutes=settings.grace_minutes)),
            _filled_share(mine, symbol, settings.max_filled_frac),
        ]
    return pl.DataFrame(findings, schema=RESULT_SCHEMA, orient="row")


def _prepare(
    frame: pl.DataFrame, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime
) -> _Frame:
    wrong = [name for name, dtype in BAR_SCHEMA.items() if frame.schema.get(name) != dtype]
    if wrong:
        raise DataError(
            f"bars cannot be checked: column {', '.join(wrong)} is absent or not {BAR_SCHEMA[wrong[0]]}; "
            f"found {dict(frame.schema)}"
        )
    if frame["symbol"].null_count():
        raise DataError(f"bars cannot be checked: {frame['symbol'].null_count()} rows name no symbol; remove them")
    time = pl.col("opened_at_utc")
    in_range = time.is_null() | ((time >= start) & (time < stop))
    rows = frame.filter(pl.col("symbol").is_in(symbols) & in_range)
    if "is_filled" not in rows.columns:
        rows = rows.with_columns(pl.lit(False).alias("is_filled"))
    grid = (
        rows.filter(_on_grid(interval))
        .unique(["symbol", "opened_at_utc"], keep="first", maintain_order=True)
        .sort("symbol", "opened_at_utc")
        .with_columns((time - time.shift(1).over("symbol")).alias("step"))
    )
    return _Frame(interval, rows, grid)


def _on_grid(interval: Interval) -> pl.Expr:
    return (pl.col("opened_at_utc").dt.epoch("us") % interval.us == 0).fill_null(False)


def _finding(
    name: str, symbol: str, n_bad: int, n_checked: int, detail: str, *, figure: float | None = None
) -> Finding:
    """Return a finding that passes when nothing is bad; its figure is the share of the bad, unless given."""
    share = n_bad / n_checked if n_checked else 0.0
    return Finding(
        name,
        symbol,
        SEVERITIES[name],
        n_bad == 0,
        n_bad,
        n_checked,
        share if figure is None else figure,
        detail,
    )


def _missing(bars: _Frame, symbol: str) -> Finding:
    if bars.grid.is_empty():
        return _finding("missing_symbols", symbol, 1, 1, "no bar in the range")
    first, last = bars.grid["opened_at_utc"][0], bars.grid["opened_at_utc"][-1]
    return _finding("missing_symbols", symbol, 0, 1, f"{len(bars.grid)} bars, {utc_text(first)} to {utc_text(last)}")


def _gaps(bars: _Frame, symbol: str) -> Finding:
    gaps = bars.grid.filter(pl.col("step") > bars.interval.duration)
    detail = "no gap"
    if len(gaps):
        worst = gaps.sort("step", descending=True, maintain_order=True).row(0, named=True)
        n_worst = worst["step"] // bars.interval.duration - 1
        after = utc_text(worst["opened_at_utc"] - worst["step"])
        detail = f"gaps: {len(gaps)}, the longest of {n_worst} bars after {after}"
    return _finding("gaps", symbol, bars.n_absent, bars.n_expected, detail)


def _duplicates(bars: _Frame, symbol: str) -> Finding:
    rows = bars.rows
    n_bad = len(rows) - len(bars.grid)
    detail = "each time once"
    if n_bad:
        off_grid = rows.filter(~_on_grid(bars.interval))
        repeated = rows.filter(_on_grid(bars.interval) & pl.col("opened_at_utc").is_duplicated())
        worst = (repeated if len(repeated) else off_grid)["opened_at_utc"][0]
        detail = (
            f"{n_bad - len(off_grid)} repeated, {len(off_grid)} off the {bars.interval} grid, "
            f"first at {utc_text(worst)}"
        )
    return _finding("duplicates", symbol, n_bad, len(rows), detail)


def _has_prices() -> pl.Expr:
    return pl.all_horizontal(pl.col(name).is_finite().fill_null(False) for name in PRICES)


def _ohlc_order(bars: _Frame, symbol: str) -> Finding:
    low, high = pl.min_horizontal("open", "close"), pl.max_horizontal("open", "close")
    checked = bars.rows.filter(_has_prices())
    bad = checked.filter((pl.col("low") > low) | (pl.col("high") < high))
    return _finding("ohlc_order", symbol, len(bad), len(checked), _first(bad, PRICES, "all in order"))


def _non_positive(bars: _Frame, symbol: str) -> Finding:
    volume = (pl.col("volume").is_finite() & (pl.col("volume") >= 0)).fill_null(False)
    positive = pl.all_horizontal((pl.col(name) > 0).fill_null(False) for name in PRICES)
    bad = bars.rows.filter(~(_has_prices() & positive & volume))
    detail = _first(bad, (*PRICES, "volume"), "all prices above zero")
    return _finding("non_positive", symbol, len(bad), len(bars.rows), detail)


def _zero_volume(bars: _Frame, symbol: str) -> Finding:
    traded = bars.grid.filter(~pl.col("is_filled"))
    bad = traded.filter(pl.col("volume") == 0)
    return _finding("zero_volume", symbol, len(bad), len(traded), _first(bad, (), "always traded"))


def _first(bad: pl.DataFrame, columns: tuple[str, ...], otherwise: str) -> str:
    """Return time and values of the earliest bad bar."""
    if bad.is_empty():
        return otherwise
    row = bad.sort("opened_at_utc", maintain_order=True).row(0, named=True)
    values = "".join(f", {name} {row[name]}" for name in columns)
    return f"first at {utc_text(row['opened_at_utc'])}{values}"


def _jumps(bars: _Frame, symbol: str, limit: float) -> Finding:
    log_close = pl.when(pl.col("close").is_finite() & (pl.col("close") > 0)).then(pl.col("close")).log()
    in_a_row = pl.col("step") == bars.interval.duration
    move = pl.when(in_a_row).then((log_close - log_close.shift(1)).abs())
    moves = bars.grid.with_columns(move.alias("move")).drop_nulls("move")
    if moves.is_empty():
        return _finding("jumps", symbol, 0, 0, "no two bars in a row", figure=0.0)
    worst = moves.sort("move", descending=True, maintain_order=True).row(0, named=True)
    n_bad = int((moves["move"] > limit).sum())
    detail = f"largest {worst['move']:.3f} at {utc_text(worst['opened_at_utc'])}, limit {limit:g}"
    return _finding("jumps", symbol, n_bad, len(moves), detail, figure=worst["move"])


def _stale(bars: _Frame, symbol: str, start: datetime, present: datetime, grace: timedelta) -> Finding:
    """Compare the age of the newest complete bar, from its open, with two intervals and the grace time.

    The newest complete bar of a live market opened one to two intervals ago, so the first bar to stay away
    is noticed. The figure is the age in intervals; without any bar it is that of the range.
    """
    duration = bars.interval.duration
    complete = bars.grid.filter(pl.col("opened_at_utc") <= present - duration)
    newest = complete["opened_at_utc"][-1] if len(complete) else None
    age = present - (newest or start)
    is_stale = newest is None or age > 2 * duration + grace
    detail = (
        f"newest complete bar opened at {utc_text(newest)}, {age} before {utc_text(present)}; "
        f"limit {2 * duration + grace}"
        if newest
        else f"no complete bar at {utc_text(present)}"
    )
    return _finding("stale", symbol, int(is_stale), 1, detail, figure=age / duration)


def _filled_share(bars: _Frame, symbol: str, limit: float) -> Finding:
    n_filled = bars.n_absent + int(bars.grid["is_filled"].sum())
    share = n_filled / bars.n_expected if bars.n_expected else 0.0
    detail = f"{n_filled} of {bars.n_expected} bars absent or filled, {share:.2%}; limit {limit:.2%}"
    found = _finding("filled_share", symbol, n_filled, bars.n_expected, detail)
    return found._replace(passed=share <= limit)
