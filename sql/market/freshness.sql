/*
description: How far the record reaches; compare `known_until_utc` with the clock to see its age.
grain: one row per symbol
columns:
  symbol: Traded pair, base/quote.
  source: Where its newest bar came from.
  first_opened_at_utc: Open of the oldest bar.
  known_until_utc: Close of the newest bar.
  bars: Number of stored bars.
*/
select
    symbol,
    arg_max(source, opened_at_utc) as source,
    min(opened_at_utc) as first_opened_at_utc,
    max(closed_at_utc) as known_until_utc,
    count(*) as bars
from market.bars
group by symbol
order by symbol
