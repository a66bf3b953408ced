"""The checks of single days: what is wrong with the bars of each symbol on each day, vectorised over both.

Every row follows from the bars of its day alone, from the nearest bar of each symbol before and after it, and from the
halts of the exchange while those bars are absent: so a day of which none of that changed never has to be checked again.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from cappuccino.market.interval import DAY, Interval
from cappuccino.market.quality_catalogue import DAY_SCHEMA, SIZED, severities, size_limit
from cappuccino.market.quality_holes import absences, opened
from cappuccino.market.source import PRICES
from cappuccino.settings import MarketSettings

KEY = ["symbol", "day"]
SAME_SYMBOL = pl.col("symbol") == pl.col("symbol").shift(1)


def check_days(
    frame: pl.DataFrame,
    spans: pl.DataFrame,
    halted: pl.DataFrame,
    interval: Interval,
    start: datetime,
    stop: datetime,
    settings: MarketSettings,
) -> pl.DataFrame:
    """Return the findings of every daily check, a row for each symbol, day of [start, stop) and check.

    `frame` has the columns of BAR_SCHEMA and `is_filled`: the bars of the range, and around it at least the nearest
    bar of each symbol; no order and no uniqueness are assumed. `spans` says from when to when each symbol is listed
    (symbol, first, last); days on which it is not, and that have no row, are left out. `halted` is what
    `quality_holes.halts` found in the whole record. The range lies on the grid. Columns as DAY_SCHEMA, sorted by
    symbol, day and check.
    """
    names = pl.Enum(pl.concat([frame["symbol"], spans["symbol"]]).unique().sort())
    spans = spans.with_columns(pl.col("symbol").cast(names))
    rows = _prepared(frame.with_columns(pl.col("symbol").cast(names)), interval, start)
    bars, inside = rows.filter("is_bar"), rows.filter(opened.is_null() | _within(start, stop))
    days = _days(inside, spans, interval, start, stop)
    found = [
        *_absent(days, absences(bars, halted, interval, start, stop), interval, settings.max_hole_hours),
        _duplicates(days, inside, interval),
        _bad(days, "ohlc_order", "n_priced", _located(inside.filter(_has_prices() & _is_disordered()), PRICES)),
        _bad(days, "non_positive", "n_rows", _located(inside.filter(~_is_positive()), (*PRICES, "volume"))),
        _bad(days, "zero_volume", "n_traded", _located(inside.filter(_is_traded() & (pl.col("volume") == 0)), ())),
        _jumps(days, bars, interval, (start, stop), settings.max_jump_log),
    ]
    rated = judged(pl.concat(found).with_columns(pl.col("symbol").cast(pl.String)), settings)
    return rated.select(pl.col(name).cast(kind) for name, kind in DAY_SCHEMA.items()).sort("symbol", "day", "check")


def judged(found: pl.DataFrame, settings: MarketSettings) -> pl.DataFrame:
    """Return findings (check, n_bad, figure) with the severity and the verdict of `settings`.

    Where they were counted under another limit than that of `settings`, the count follows the verdict: what passes
    has no bad bar, what fails at least one.
    """
    check, limit = pl.col("check"), pl.lit(None, pl.Float64)
    for name in SIZED:
        limit = pl.when(check == name).then(size_limit(name, settings)).otherwise(limit)
    n_bad, is_sized = pl.col("n_bad"), limit.is_not_null()
    passed = pl.when(is_sized).then(pl.col("figure") <= limit).otherwise(n_bad == 0)
    at_least_one = pl.max_horizontal(n_bad, pl.lit(1, pl.Int64))
    return found.with_columns(
        severity=check.replace_strict(severities(settings), return_dtype=pl.String),
        passed=passed,
        n_bad=pl.when(is_sized & passed).then(0).when(is_sized).then(at_least_one).otherwise(n_bad),
    )


def moment_text(time: pl.Expr) -> pl.Expr:
    """Return times as people read them, as `source.utc_text` does for one."""
    return time.dt.strftime("%Y-%m-%d %H:%M:%S UTC").str.replace(":00 UTC", " UTC", literal=True).fill_null("no time")


def on_grid(interval: Interval) -> pl.Expr:
    """Return whether a bar's open is a multiple of the interval after midnight UTC; no time is on no grid."""
    return (opened.dt.epoch("us") % interval.us == 0).fill_null(value=False)


def _within(start: datetime, stop: datetime) -> pl.Expr:
    return (opened >= start) & (opened < stop)


def _prepared(frame: pl.DataFrame, interval: Interval, start: datetime) -> pl.DataFrame:
    """Return the rows sorted by symbol and time, with their day, and is_bar: on the grid, the first of its time.

    A row without a time counts for the first day: it must count somewhere.
    """
    is_again = (SAME_SYMBOL & (opened == opened.shift(1))).fill_null(value=False)
    return frame.sort("symbol", "opened_at_utc", maintain_order=True).with_columns(
        is_bar=on_grid(interval) & ~is_again, day=opened.dt.date().fill_null(start.date())
    )


def _days(
    inside: pl.DataFrame, spans: pl.DataFrame, interval: Interval, start: datetime, stop: datetime
) -> pl.DataFrame:
    """Return symbol, day, n_expected, n_rows, n_priced and n_traded for each symbol's days in the range."""
    dates = pl.date_range(start.date(), (stop - interval.duration).date(), eager=True).alias("day").to_frame()
    midnight = pl.col("day").cast(pl.Datetime("us", "UTC"))
    begins = pl.max_horizontal("first", midnight, pl.lit(start))
    ends = pl.min_horizontal(pl.col("last") + interval.duration, midnight + DAY, pl.lit(stop))
    n_expected = (ends - begins).dt.total_microseconds() // interval.us
    listed = spans.join(dates, how="cross").select(*KEY, n_expected=n_expected).filter(pl.col("n_expected") > 0)
    held = inside.group_by(KEY).agg(
        n_rows=pl.len().cast(pl.Int64),
        n_priced=_has_prices().sum().cast(pl.Int64),
        n_traded=_is_traded().sum().cast(pl.Int64),
    )
    return listed.join(held, on=KEY, how="full", coalesce=True).with_columns(pl.exclude(KEY).fill_null(0))


def _bad(days: pl.DataFrame, name: str, n_checked: str, bad: pl.DataFrame) -> pl.DataFrame:
    """Return a row per day: n_bad and detail of `bad`, 0 and nothing where it has no row, and their share."""
    n_bad, n = pl.col("n_bad").fill_null(0).cast(pl.Int64), pl.col(n_checked).cast(pl.Int64)
    return days.join(bad, on=KEY, how="left", maintain_order="left").select(
        *KEY,
        check=pl.lit(name),
        n_bad=n_bad,
        n_checked=n,
        figure=pl.when(n > 0).then(n_bad / n).otherwise(0.0),
        detail=pl.col("detail").fill_null(""),
    )


def _located(bad: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """Return symbol, day, n_bad, and as detail the time and values of the earliest bad row of each day."""
    values = [pl.format(f", {name} {{}}", pl.col(name).cast(pl.String).fill_null("missing")) for name in columns]
    text = pl.concat_str(pl.lit("first at "), moment_text(opened), *values)
    first = pl.struct(KEY).is_first_distinct()
    texts = bad.filter(first).select(*KEY, detail=text)
    return bad.group_by(KEY).agg(n_bad=pl.len()).join(texts, on=KEY)


def _absent(days: pl.DataFrame, absent: pl.DataFrame, interval: Interval, max_hole_hours: float) -> list[pl.DataFrame]:
    """Return the rows of gaps, halts and longest_hole."""
    absent = absent.with_columns(day=opened.dt.date(), run_h=pl.col("run_bars") * (interval.us / 3.6e9))
    halts, holes = _longest(absent.filter("is_halt")), _longest(absent.filter(~pl.col("is_halt")))
    is_long = ~pl.col("is_halt") & (pl.col("run_h") > max_hole_hours)
    n_long = absent.group_by(KEY).agg(n_bad=is_long.sum())
    longest = holes.drop("n_bad").join(n_long, on=KEY)
    sizes = days.join(holes.select(*KEY, "run_h"), on=KEY, how="left", maintain_order="left")["run_h"]
    return [
        _bad(days, "gaps", "n_expected", holes),
        _bad(days, "halts", "n_expected", halts),
        _bad(days, "longest_hole", "n_expected", longest).with_columns(figure=sizes.fill_null(0.0)),
    ]


def _longest(absent: pl.DataFrame) -> pl.DataFrame:
    """Return symbol, day, n_bad (absent bars), and length and text of the longest run of them that touches the day."""
    longest = pl.col("run_bars").arg_max()
    around = pl.col("run_bars", "run_h", "run_after_utc").get(longest)
    text = pl.format(
        "hole of {} bars ({} h) after {}", "run_bars", pl.col("run_h").round(2), moment_text(pl.col("run_after_utc"))
    )
    return absent.group_by(KEY).agg(around, n_bad=pl.len()).with_columns(detail=text)


def _duplicates(days: pl.DataFrame, inside: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    bad = inside.filter(~pl.col("is_bar")).with_columns(is_off=~on_grid(interval))
    n_off, repeated = pl.col("is_off").sum(), opened.filter(~pl.col("is_off"))
    where = pl.coalesce(repeated.first(), opened.drop_nulls().first())
    texts = bad.group_by(KEY, maintain_order=True).agg(
        n_bad=pl.len(),
        detail=pl.format(
            f"{{}} repeated, {{}} off the {interval} grid, first at {{}}", pl.len() - n_off, n_off, moment_text(where)
        ),
    )
    return _bad(days, "duplicates", "n_rows", texts)


def _has_prices() -> pl.Expr:
    return pl.all_horizontal(pl.col(name).is_finite().fill_null(value=False) for name in PRICES)


def _is_disordered() -> pl.Expr:
    return (pl.col("low") > pl.min_horizontal("open", "close")) | (pl.col("high") < pl.max_horizontal("open", "close"))


def _is_positive() -> pl.Expr:
    volume = (pl.col("volume").is_finite() & (pl.col("volume") >= 0)).fill_null(value=False)
    return _has_prices() & pl.all_horizontal((pl.col(name) > 0).fill_null(value=False) for name in PRICES) & volume


def _is_traded() -> pl.Expr:
    """Return whether a row is a bar that the source recorded."""
    return pl.col("is_bar") & ~pl.col("is_filled")


def _jumps(
    days: pl.DataFrame, bars: pl.DataFrame, interval: Interval, span: tuple[datetime, datetime], limit: float
) -> pl.DataFrame:
    """Return the largest |log move| of each day between neighbours, and how many are above the limit."""
    close = pl.col("close")
    log_close = pl.when(close.is_finite() & (close > 0)).then(close).log()
    is_next = SAME_SYMBOL & (opened - opened.shift(1) == interval.duration)
    move = pl.when(is_next).then((log_close - log_close.shift(1)).abs())
    moves = bars.select(*KEY, "opened_at_utc", move=move).filter(_within(*span) & pl.col("move").is_not_null())
    sizes = moves.group_by(KEY).agg(
        n_moves=pl.len(),
        n_bad=(pl.col("move") > limit).sum(),
        largest=pl.col("move").max(),
        at=opened.get(pl.col("move").arg_max()),
    )
    text = pl.format("{} at {}", pl.col("largest").round(3), moment_text(pl.col("at")))
    return days.join(sizes, on=KEY, how="left").select(
        *KEY,
        check=pl.lit("jumps"),
        n_bad=pl.col("n_bad").fill_null(0).cast(pl.Int64),
        n_checked=pl.col("n_moves").fill_null(0).cast(pl.Int64),
        figure=pl.col("largest").fill_null(0.0),
        detail=text.fill_null(""),
    )
