/*
description: >
  Bars that are not there although their symbol is listed, from its first to its last bar. At a halt every listed
  symbol (two at least) stands still at once: it is absent, or flat without volume. Where nothing moves for more than a
  day there is no halt: a source lost the bars. Up to a day after its last bar a symbol still counts as listed. The
  same rules as in the quality checks.
grain: one row per symbol and absent bar
materialized: table
columns:
  symbol: Traded pair, base/quote.
  opened_at_utc: UTC time at which the absent bar would have opened.
  after_utc: Open of the last bar before the hole; with the symbol it names the hole.
  hole_bars: Length of the whole hole.
  is_halt: True when the exchange stood still then, false when the source lacks the bar.
  run_after_utc: Open before the first of the hole's neighbouring bars with the same is_halt; it names their run.
  run_bars: Length of the run.
tests:
  - not_null: [symbol, opened_at_utc, after_utc, hole_bars, is_halt, run_after_utc, run_bars]
  - unique: [symbol, opened_at_utc]
  - positive: [hole_bars, run_bars]
  - expression: run_bars <= hole_bars
examples:
  - name: what all lack, or lack while the others stand still, is a halt; what one lacks is a hole of the source
    given:
      market.bars:
        - {symbol: A/USD, opened_at_utc: 2025-01-01 00:00, closed_at_utc: 2025-01-01 01:00, high: 2, low: 1, volume: 1}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 04:00, closed_at_utc: 2025-01-01 05:00, high: 2, low: 1, volume: 1}
        - {symbol: A/USD, opened_at_utc: 2025-01-01 05:00, closed_at_utc: 2025-01-01 06:00, high: 2, low: 1, volume: 1}
        - {symbol: B/USD, opened_at_utc: 2025-01-01 00:00, closed_at_utc: 2025-01-01 01:00, high: 2, low: 1, volume: 1}
        - {symbol: B/USD, opened_at_utc: 2025-01-01 01:00, closed_at_utc: 2025-01-01 02:00, high: 2, low: 2, volume: 0}
        - {symbol: B/USD, opened_at_utc: 2025-01-01 03:00, closed_at_utc: 2025-01-01 04:00, high: 2, low: 1, volume: 1}
        - {symbol: B/USD, opened_at_utc: 2025-01-01 05:00, closed_at_utc: 2025-01-01 06:00, high: 2, low: 1, volume: 1}
    expect:
      - {symbol: A/USD, opened_at_utc: 2025-01-01 01:00, after_utc: 2025-01-01 00:00, hole_bars: 3, is_halt: true, run_after_utc: 2025-01-01 00:00, run_bars: 2}
      - {symbol: A/USD, opened_at_utc: 2025-01-01 02:00, after_utc: 2025-01-01 00:00, hole_bars: 3, is_halt: true, run_after_utc: 2025-01-01 00:00, run_bars: 2}
      - {symbol: A/USD, opened_at_utc: 2025-01-01 03:00, after_utc: 2025-01-01 00:00, hole_bars: 3, is_halt: false, run_after_utc: 2025-01-01 02:00, run_bars: 1}
      - {symbol: B/USD, opened_at_utc: 2025-01-01 02:00, after_utc: 2025-01-01 01:00, hole_bars: 1, is_halt: true, run_after_utc: 2025-01-01 01:00, run_bars: 1}
      - {symbol: B/USD, opened_at_utc: 2025-01-01 04:00, after_utc: 2025-01-01 03:00, hole_bars: 1, is_halt: false, run_after_utc: 2025-01-01 03:00, run_bars: 1}
*/
with
bars as (
    select
        symbol,
        opened_at_utc,
        closed_at_utc - opened_at_utc as length,
        lag(opened_at_utc) over (partition by symbol order by opened_at_utc) as after_utc
    from market.bars
),

holes as (
    select
        symbol,
        after_utc,
        opened_at_utc as before_utc,
        length,
        (epoch_us(opened_at_utc) - epoch_us(after_utc)) // epoch_us(timestamp 'epoch' + length) - 1 as hole_bars
    from bars
    where opened_at_utc > after_utc + length
),

absent as (
    select
        *,
        unnest(generate_series(after_utc + length, before_utc - length, length)) as opened_at_utc
    from holes
),

record as (
    select min(opened_at_utc) as oldest_utc, max(opened_at_utc) as newest_utc, any_value(length) as length from bars
),

edges as (
    select distinct opened_at_utc from market.bars where not (volume = 0 and high = low)
    union
    select unnest([oldest_utc - length, newest_utc + length]) from record
),

still as (
    select opened_at_utc as after_utc, lead(opened_at_utc) over (order by opened_at_utc) as before_utc from edges
),

quiet as (
    select after_utc, before_utc
    from still, record
    -- A day without a move is longer than exchanges ever are shut.
    where before_utc > after_utc + length and before_utc - after_utc - length <= interval '1 day'
),

spans as (
    select symbol, min(opened_at_utc) as first_utc, max(opened_at_utc) as last_utc from market.bars group by symbol
),

listings as (
    -- At the end of the record a symbol may be one that has not come back yet.
    select
        symbol,
        first_utc,
        if(newest_utc - last_utc - length <= interval '1 day', newest_utc, last_utc) as last_utc
    from spans, record
),

moments as (
    select distinct opened_at_utc from absent
),

listed as (
    select moments.opened_at_utc, count(*) as n_listed
    from moments
    inner join listings on moments.opened_at_utc between listings.first_utc and listings.last_utc
    group by moments.opened_at_utc
),

halts as (
    select listed.opened_at_utc
    from listed
    asof join quiet on listed.opened_at_utc > quiet.after_utc
    where listed.opened_at_utc < quiet.before_utc and n_listed >= 2
),

told as (
    select absent.*, halts.opened_at_utc is not null as is_halt
    from absent
    left join halts on halts.opened_at_utc = absent.opened_at_utc
),

numbered as (
    -- Within a run both numbers grow by one from bar to bar.
    select
        *,
        row_number() over (partition by symbol, after_utc order by opened_at_utc)
        - row_number() over (partition by symbol, after_utc, is_halt order by opened_at_utc) as run
    from told
)

select
    symbol,
    opened_at_utc,
    after_utc,
    hole_bars,
    is_halt,
    min(opened_at_utc) over neighbours - length as run_after_utc,
    count(*) over neighbours as run_bars
from numbered
window neighbours as (partition by symbol, after_utc, is_halt, run)
order by symbol, opened_at_utc
