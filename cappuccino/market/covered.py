"""What a venue has answered already, by the record of syncs: what need not be asked for again."""

from __future__ import annotations

from datetime import datetime, timedelta

from cappuccino.market.interval import Interval
from cappuccino.market.ranges import Range, without
from cappuccino.settings import MarketSettings
from cappuccino.store.warehouse import Reader

LATE_BARS = 4
"""Newest bars of a venue that are asked for again: they may still have changed after their close."""
ASKED_OFTEN = 3
"""A day that lacks bars is asked for so often in all: an answer may have been cut short, a bar published late."""
ASKED_AGAIN_AFTER = timedelta(hours=12)


def covered(reader: Reader, source: str, market: MarketSettings, now: datetime) -> dict[str, list[Range]]:
    """Return the stretches of each symbol that need not be asked for: answered, and not just before its newest bar."""
    rows = reader.query(
        """
        with asked as (
            select unnest(symbols) as symbol, from_utc, to_utc, synced_at_utc from ops.syncs
            where source = $source and interval = $interval
        ),

        newest as (
            select symbol, max(opened_at_utc) - $late as settled_until_utc from market.bars group by symbol
        ),

        -- What was more than a day old when it was asked for will not come any more, as of a symbol that was delisted.
        trusted as (
            select symbol, from_utc, to_utc, greatest(settled_until_utc, synced_at_utc - interval '1 day') as until_utc
            from asked
            inner join newest using (symbol)
        )

        select symbol, from_utc, least(to_utc, until_utc) as to_utc
        from trusted
        where from_utc < until_utc
        """,
        source=source,
        interval=market.base_interval.value,
        late=LATE_BARS * market.base_interval.duration,
    )
    doubtful = _doubtful_days(reader, source, market, now)
    answered: dict[str, list[Range]] = {}
    for symbol, start, stop in rows.iter_rows():
        answered.setdefault(symbol, []).extend(without((start, stop), doubtful.get(symbol, ())))
    return answered


def _doubtful_days(reader: Reader, source: str, market: MarketSettings, now: datetime) -> dict[str, list[Range]]:
    """Return the days of each symbol that lack bars and were asked for a few times only, the last some time ago."""
    rows = reader.query(
        """
        with asked as (
            select unnest(symbols) as symbol, from_utc, to_utc, synced_at_utc from ops.syncs
            where source = $source and interval = $interval
        ),

        bars as (
            select symbol, date_trunc('day', opened_at_utc) as day, count(*) as bars
            from market.bars where list_contains($symbols, symbol) group by all
        ),

        listed as (
            select symbol, unnest(generate_series(
                date_trunc('day', min(from_utc)),
                date_trunc('day', max(to_utc) - interval '1 microsecond'),
                interval '1 day'
            )) as day
            from asked group by symbol
        ),

        short as (
            select listed.symbol, listed.day
            from listed
            left join bars on bars.symbol = listed.symbol and bars.day = listed.day
            where coalesce(bars.bars, 0) < $per_day
        )

        select short.symbol, short.day
        from short
        inner join asked
            on asked.symbol = short.symbol
            and asked.from_utc < short.day + interval '1 day'
            and asked.to_utc > short.day
        group by short.symbol, short.day
        having count(*) < $often and max(synced_at_utc) <= $before
        """,
        symbols=list(market.symbols),
        source=source,
        interval=market.base_interval.value,
        per_day=market.base_interval.per_day,
        often=ASKED_OFTEN,
        before=now - ASKED_AGAIN_AFTER,
    )
    days: dict[str, list[Range]] = {}
    for symbol, day in rows.iter_rows():
        days.setdefault(symbol, []).append((day, day + Interval.D1.duration))
    return days
