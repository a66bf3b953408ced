/*
description: How much of each day the stored bars cover, from the symbol's first to its last bar.
grain: one row per symbol and day
materialized: table
columns:
  symbol: Traded pair, base/quote.
  day: UTC day of the bars' opens.
  bars: Stored bars.
  expected_bars: Bars of the day between the symbol's first and last one, if none were absent.
  absent_bars: Bars of those that are not there.
  halted_bars: Absent bars of those that the exchange did not make, because it was halted; the others are the source's.
  zero_volume_bars: Stored bars without a trade.
  coverage_frac: Share of the expected bars that are there.
tests:
  - not_null: [symbol, day, bars, expected_bars, absent_bars, halted_bars, zero_volume_bars, coverage_frac]
  - unique: [symbol, day]
  - positive: [expected_bars]
  - expression: bars + absent_bars = expected_bars
  - expression: halted_bars <= absent_bars and zero_volume_bars <= bars
examples:
  - name: a day begins with the first bar, and one that lies in a hole is covered by nothing
    given:
      market.bars:
        - {symbol: A/USD, opened_at_utc: 2025-01-01 12:00, closed_at_utc: 2025-01-01 18:00, high: 2, low: 1, volume: 1}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 18:00, closed_at_utc: 2025-01-02 00:00, high: 2, low: 1, volume: 0}
        - {symbol: A/USD, opened_at_utc: 2025-01-03 06:00, closed_at_utc: 2025-01-03 12:00, high: 2, low: 1, volume: 1}
        - {symbol: B/USD, opened_at_utc: 2025-01-02 18:00, closed_at_utc: 2025-01-03 00:00, high: 2, low: 1, volume: 1}
        - {symbol: B/USD, opened_at_utc: 2025-01-03 00:00, closed_at_utc: 2025-01-03 06:00, high: 2, low: 2, volume: 0}
        - {symbol: B/USD, opened_at_utc: 2025-01-03 06:00, closed_at_utc: 2025-01-03 12:00, high: 2, low: 1, volume: 1}
    expect:
      - {symbol: A/USD, day: 2025-01-01, bars: 2, expected_bars: 2, absent_bars: 0, halted_bars: 0, zero_volume_bars: 1, coverage_frac: 1}
      - {symbol: A/USD, day: 2025-01-02, bars: 0, expected_bars: 4, absent_bars: 4, halted_bars: 0, zero_volume_bars: 0, coverage_frac: 0}
      - {symbol: A/USD, day: 2025-01-03, bars: 1, expected_bars: 2, absent_bars: 1, halted_bars: 1, zero_volume_bars: 0, coverage_frac: 0.5}
      - {symbol: B/USD, day: 2025-01-02, bars: 1, expected_bars: 1, absent_bars: 0, halted_bars: 0, zero_volume_bars: 0, coverage_frac: 1}
      - {symbol: B/USD, day: 2025-01-03, bars: 2, expected_bars: 2, absent_bars: 0, halted_bars: 0, zero_volume_bars: 1, coverage_frac: 1}
*/
with
spans as (
    select
        symbol,
        min(opened_at_utc) as first_utc,
        max(closed_at_utc) as until_utc,
        any_value(epoch_us(closed_at_utc) - epoch_us(opened_at_utc)) as length_us
    from market.bars
    group by symbol
),

calendar as (
    select
        *,
        unnest(generate_series(date_trunc('day', first_utc), until_utc - interval '1 microsecond', interval '1 day'))
            as midnight_utc
    from spans
),

expected as (
    select
        symbol,
        midnight_utc::date as day,
        (
            epoch_us(least(until_utc, midnight_utc + interval '1 day')) - epoch_us(greatest(first_utc, midnight_utc))
        ) // length_us as expected_bars
    from calendar
),

held as (
    select
        symbol,
        opened_at_utc::date as day,
        count(*) as bars,
        count(*) filter (where volume = 0) as zero_volume_bars
    from market.bars
    group by symbol, opened_at_utc::date
),

absent as (
    select
        symbol,
        opened_at_utc::date as day,
        count(*) as absent_bars,
        count(*) filter (where is_halt) as halted_bars
    from market.absences
    group by symbol, opened_at_utc::date
)

select
    expected.symbol,
    expected.day,
    coalesce(held.bars, 0) as bars,
    expected.expected_bars,
    coalesce(absent.absent_bars, 0) as absent_bars,
    coalesce(absent.halted_bars, 0) as halted_bars,
    coalesce(held.zero_volume_bars, 0) as zero_volume_bars,
    1 - coalesce(absent.absent_bars, 0) / expected.expected_bars as coverage_frac
from expected
left join held on held.symbol = expected.symbol and held.day = expected.day
left join absent on absent.symbol = expected.symbol and absent.day = expected.day
order by expected.symbol, expected.day
