/*
description: How far the record reaches; a symbol is stale when the clock has passed `stale_from_utc`.
grain: one row per symbol
columns:
  symbol: Traded pair, base/quote.
  source: Where its newest bar came from.
  first_opened_at_utc: Open of the oldest bar.
  known_until_utc: Close of the newest bar.
  stale_from_utc: Moment from which the newest bar is too old to train, promote or order on.
  bars: Number of stored bars.
*/
with bars as (
    select
        symbol,
        arg_max(source, opened_at_utc) as source,
        min(opened_at_utc) as first_opened_at_utc,
        max(closed_at_utc) as known_until_utc,
        count(*) as bars
    from market.bars
    group by symbol
),

allowed as (
    select arg_max(stale_after_minutes, synced_at_utc) as stale_after_minutes from ops.syncs
)

select
    symbol,
    source,
    first_opened_at_utc,
    known_until_utc,
    known_until_utc + to_microseconds((stale_after_minutes * 60e6)::bigint) as stale_from_utc,
    bars
from bars
cross join allowed
order by symbol
