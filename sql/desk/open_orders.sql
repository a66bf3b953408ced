/*
description: Orders of the trader that are not over; of `unknown` ones nobody knows whether the venue has them.
grain: one row per open order
columns:
  client_id: Our name for it.
  account: Account of the trader.
  symbol: Pair.
  side: buy or sell.
  purpose: Why it was made.
  state: recorded, sending, unknown, working or canceling.
  units: Units ordered.
  filled_units: Units filled so far.
  limit_usd: Price of a post-only limit; empty for an order at the market.
  recorded_at_utc: When it was stored.
  updated_at_utc: When anything of it changed last.
  reason: What the venue or we said last; empty otherwise.
tests:
  - unique: [client_id]
*/
select
    client_id,
    account,
    symbol,
    if(side > 0, 'buy', 'sell') as side,
    purpose,
    state,
    units,
    filled_units,
    limit_usd,
    recorded_at_utc,
    updated_at_utc,
    reason
from desk.orders
where state in ('recorded', 'sending', 'unknown', 'working', 'canceling')
order by recorded_at_utc
