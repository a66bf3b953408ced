/*
description: >
  Bars of every interval that the base interval divides, without holes. A longer bar is built from a complete bucket
  only; where bars are missing, the last close is repeated with volume 0 and the row is marked as filled.
grain: one row per interval, symbol and bar open
materialized: table
columns:
  interval: Length of the bar, for example 15m or 1h.
  symbol: Traded pair, base/quote.
  opened_at_utc: UTC time at which the bar opened.
  closed_at_utc: UTC time from which the bar is known.
  open: First price, in quote currency.
  high: Highest price, in quote currency.
  low: Lowest price, in quote currency.
  close: Last price, in quote currency.
  volume: Traded amount, in base units.
  is_filled: True where no complete bar was recorded and the last close stands in.
tests:
  - not_null: [interval, symbol, opened_at_utc, open, high, low, close, volume, is_filled]
  - unique: [interval, symbol, opened_at_utc]
  - expression: low <= least(open, close) and high >= greatest(open, close)
examples:
  - name: an hour with a missing quarter is filled, never averaged from the rest
    given:
      market.bars:
        - {symbol: A/USD, opened_at_utc: 2025-01-01 00:00, closed_at_utc: 2025-01-01 00:30, open: 1, high: 3, low: 1, close: 2, volume: 5, source: t, ingested_at_utc: 2025-01-02}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 00:30, closed_at_utc: 2025-01-01 01:00, open: 2, high: 4, low: 2, close: 3, volume: 5, source: t, ingested_at_utc: 2025-01-02}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 01:30, closed_at_utc: 2025-01-01 02:00, open: 9, high: 9, low: 9, close: 9, volume: 1, source: t, ingested_at_utc: 2025-01-02}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 02:00, closed_at_utc: 2025-01-01 02:30, open: 5, high: 6, low: 4, close: 5, volume: 2, source: t, ingested_at_utc: 2025-01-02}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 02:30, closed_at_utc: 2025-01-01 03:00, open: 5, high: 7, low: 5, close: 6, volume: 2, source: t, ingested_at_utc: 2025-01-02}
    where: interval = '1h'
    expect:
      - {opened_at_utc: 2025-01-01 00:00, open: 1, high: 4, low: 1, close: 3, volume: 10, is_filled: false}
      - {opened_at_utc: 2025-01-01 01:00, open: 3, high: 3, low: 3, close: 3, volume: 0, is_filled: true}
      - {opened_at_utc: 2025-01-01 02:00, open: 5, high: 7, low: 4, close: 6, volume: 4, is_filled: false}
  - name: the newest bar that is over is there even when a part of it is missing
    given:
      market.bars:
        - {symbol: A/USD, opened_at_utc: 2025-01-01 00:00, closed_at_utc: 2025-01-01 00:30, open: 1, high: 3, low: 1, close: 2, volume: 5, source: t, ingested_at_utc: 2025-01-02}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 00:30, closed_at_utc: 2025-01-01 01:00, open: 2, high: 4, low: 2, close: 3, volume: 5, source: t, ingested_at_utc: 2025-01-02}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 01:30, closed_at_utc: 2025-01-01 02:00, open: 9, high: 9, low: 9, close: 9, volume: 1, source: t, ingested_at_utc: 2025-01-02}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 02:00, closed_at_utc: 2025-01-01 02:30, open: 9, high: 9, low: 9, close: 9, volume: 1, source: t, ingested_at_utc: 2025-01-02}
    where: interval = '1h'
    expect:
      - {opened_at_utc: 2025-01-01 00:00, open: 1, high: 4, low: 1, close: 3, volume: 10, is_filled: false}
      - {opened_at_utc: 2025-01-01 01:00, open: 3, high: 3, low: 3, close: 3, volume: 0, is_filled: true}
*/
with
base as (
    select *, closed_at_utc - opened_at_utc as base_length from market.bars
),

lengths as (
    select interval, length from market.intervals
),

buckets as (
    select
        lengths.interval,
        lengths.length,
        base.symbol,
        time_bucket(lengths.length, base.opened_at_utc) as opened_at_utc,
        arg_min(base.open, base.opened_at_utc) as open,
        max(base.high) as high,
        min(base.low) as low,
        arg_max(base.close, base.opened_at_utc) as close,
        -- In the order of time: threads would add it up another way each time, and features would differ in their last bits.
        sum(base.volume order by base.opened_at_utc) as volume
    from base
    inner join lengths on lengths.length >= base.base_length
    group by all
    -- Complete buckets only: the parts add up to the whole.
    having sum(epoch_us(base.closed_at_utc) - epoch_us(base.opened_at_utc))
        = epoch_us(timestamp 'epoch' + lengths.length)
),

ends as (
    select symbol, max(closed_at_utc) as known_until_utc from base group by symbol
),

grid as (
    select
        interval,
        length,
        symbol,
        -- Up to the last bar that is over, complete or not: what was decided then is what history shows later.
        unnest(
            generate_series(min(opened_at_utc), time_bucket(length, any_value(known_until_utc)) - length, length)
        ) as opened_at_utc
    from buckets
    inner join ends using (symbol)
    group by interval, length, symbol
),

joined as (
    select
        grid.interval,
        grid.length,
        grid.symbol,
        grid.opened_at_utc,
        buckets.open,
        buckets.high,
        buckets.low,
        buckets.close,
        buckets.volume,
        last_value(buckets.close ignore nulls) over (
            partition by grid.interval, grid.symbol
            order by grid.opened_at_utc
            rows between unbounded preceding and current row
        ) as last_close
    from grid
    left join buckets
        on buckets.interval = grid.interval
        and buckets.symbol = grid.symbol
        and buckets.opened_at_utc = grid.opened_at_utc
)

select
    interval,
    symbol,
    opened_at_utc,
    opened_at_utc + length as closed_at_utc,
    coalesce(open, last_close) as open,
    coalesce(high, last_close) as high,
    coalesce(low, last_close) as low,
    coalesce(close, last_close) as close,
    coalesce(volume, 0) as volume,
    close is null as is_filled
from joined
order by interval, symbol, opened_at_utc
