/*
description: >
  For each bar, the newest bar of each longer interval that had closed with it: what was known of the larger picture.
  A bar gets no row for an interval of which none had closed yet. Large: name interval, symbol and context_interval.
grain: one row per interval, symbol, bar open and longer interval
columns:
  interval: Length of the bar.
  symbol: Traded pair, base/quote.
  opened_at_utc: UTC time at which the bar opened.
  context_interval: Length of the longer bar.
  context_closed_at_utc: UTC time from which the longer bar is known, at or before the close of the bar.
  open: First price of the longer bar, in quote currency.
  high: Its highest price, in quote currency.
  low: Its lowest price, in quote currency.
  close: Its last price, in quote currency.
  volume: Amount traded in it, in base units.
  is_filled: True where no complete longer bar was recorded and the last close stands in.
tests:
  # One pass over what may be a hundred million rows; that they are unique follows from market.bars_all.
  - expression: context_closed_at_utc > opened_at_utc - interval '1 day'
examples:
  - name: an hour is seen from the bar that closes with it, and not while it goes on
    given:
      market.bars_all:
        - {interval: 30m, symbol: A/USD, opened_at_utc: 2025-01-01 00:30, closed_at_utc: 2025-01-01 01:00, close: 2}
        - {interval: 30m, symbol: A/USD, opened_at_utc: 2025-01-01 01:00, closed_at_utc: 2025-01-01 01:30, close: 3}
        - {interval: 30m, symbol: A/USD, opened_at_utc: 2025-01-01 01:30, closed_at_utc: 2025-01-01 02:00, close: 4}
        - {interval: 30m, symbol: A/USD, opened_at_utc: 2025-01-01 00:00, closed_at_utc: 2025-01-01 00:30, close: 1}
        - {interval: 1h, symbol: A/USD, opened_at_utc: 2025-01-01 00:00, closed_at_utc: 2025-01-01 01:00, close: 2, volume: 7}
        - {interval: 1h, symbol: A/USD, opened_at_utc: 2025-01-01 01:00, closed_at_utc: 2025-01-01 02:00, close: 4, volume: 8}
        - {interval: 1h, symbol: B/USD, opened_at_utc: 2025-01-01 00:00, closed_at_utc: 2025-01-01 01:00, close: 9, volume: 9}
    expect:
      - {interval: 30m, symbol: A/USD, opened_at_utc: 2025-01-01 00:30, context_interval: 1h, context_closed_at_utc: 2025-01-01 01:00, close: 2, volume: 7}
      - {interval: 30m, symbol: A/USD, opened_at_utc: 2025-01-01 01:00, context_interval: 1h, context_closed_at_utc: 2025-01-01 01:00, close: 2, volume: 7}
      - {interval: 30m, symbol: A/USD, opened_at_utc: 2025-01-01 01:30, context_interval: 1h, context_closed_at_utc: 2025-01-01 02:00, close: 4, volume: 8}
*/
with bars as (
    select * from market.bars_all
),

lengths as (
    select interval, length from market.intervals
),

pairs as (
    select shorter.interval, longer.interval as context_interval
    from lengths as shorter
    inner join lengths as longer on longer.length > shorter.length
),

wanted as (
    select bars.interval, bars.symbol, bars.opened_at_utc, bars.closed_at_utc, pairs.context_interval
    from bars
    inner join pairs on pairs.interval = bars.interval
)

select
    wanted.interval,
    wanted.symbol,
    wanted.opened_at_utc,
    wanted.context_interval,
    longer_bars.closed_at_utc as context_closed_at_utc,
    longer_bars.open,
    longer_bars.high,
    longer_bars.low,
    longer_bars.close,
    longer_bars.volume,
    longer_bars.is_filled
from wanted
asof join bars as longer_bars
    on longer_bars.symbol = wanted.symbol
    and longer_bars.interval = wanted.context_interval
    and longer_bars.closed_at_utc <= wanted.closed_at_utc
