/*
description: >
  A number for each bar that changes with any of its values. The numbers of a range add up to the range's own, in any
  order, so that two states of a range are compared by one sum a symbol. It is the sum of the values' bits, each times
  a weight that depends on the minute and the column: exact, the same in every version of DuckDB, and far quicker than
  a hash of text. It guards against corrections, not against forgery.
grain: one row per symbol, bar open and place that holds the bar
columns:
  symbol: Traded pair, base/quote.
  opened_at_utc: UTC time at which the bar opened.
  is_derived: >
    False for the bar in market.bars; true for the same bar in market.bars_all, which features and studies are made
    from and which may lag behind.
  fingerprint: The bar's number.
examples:
  - name: a fingerprint follows each value, and the place in time
    given:
      market.intervals:
        - {interval: 1h, length: 1 hour}
      market.bars:
        - {symbol: A/USD, opened_at_utc: 1970-01-01 00:00, closed_at_utc: 1970-01-01 01:00, open: 0, high: 0, low: 0, close: 0, volume: 5.0e-324, source: t, ingested_at_utc: 2025-01-02}
        - {symbol: A/USD, opened_at_utc: 1970-01-01 01:00, closed_at_utc: 1970-01-01 02:00, open: 5.0e-324, high: 0, low: 0, close: 0, volume: 0, source: t, ingested_at_utc: 2025-01-02}
      market.bars_all: []
    expect:
      - {opened_at_utc: 1970-01-01 00:00, is_derived: false, fingerprint: 630360017}
      - {opened_at_utc: 1970-01-01 01:00, is_derived: false, fingerprint: 8153610}
*/
with
base as (
    select interval
    from market.intervals
    where length = (select closed_at_utc - opened_at_utc from market.bars limit 1)
),

held as (
    select symbol, opened_at_utc, open, high, low, close, volume, false as is_derived
    from market.bars
    union all
    select symbol, opened_at_utc, open, high, low, close, volume, true as is_derived
    from market.bars_all
    where interval = (select interval from base) and not is_filled
),

seeded as (
    -- 2147483647 is prime; products of two remainders fit into 64 bits.
    select *, (epoch_us(opened_at_utc) // 60000000 * 1566083941 + 1) % 2147483647 as seed from held
),

weighted as (
    -- Squares, because weights in equal steps would let changes of neighbouring bars cancel.
    select *, seed * seed % 2147483647 as weight from seeded
)

select
    symbol,
    opened_at_utc,
    is_derived,
    open::bit::bigint::hugeint * (weight + 1)
    + high::bit::bigint::hugeint * (weight * 16807 % 2147483647 + 1)
    + low::bit::bigint::hugeint * (weight * 48271 % 2147483647 + 1)
    + close::bit::bigint::hugeint * (weight * 69621 % 2147483647 + 1)
    + volume::bit::bigint::hugeint * (weight * 630360016 % 2147483647 + 1) as fingerprint
from weighted
