/*
description: Bars as a source gave them, in the base interval; holes stay holes and nothing is invented.
grain: one row per symbol and bar open
columns:
  symbol: Traded pair, base/quote, for example BTC/USD.
  opened_at_utc: UTC time at which the bar opened; its name.
  closed_at_utc: UTC time at which the bar closed, and from which it is known.
  open: First price, in quote currency.
  high: Highest price, in quote currency.
  low: Lowest price, in quote currency.
  close: Last price, in quote currency.
  volume: Traded amount, in base units.
  source: Where the bar came from (simulated, files, ...); simulated bars are not real.
  ingested_at_utc: Clock time at which the bar was stored.
tests:
  - not_null: [symbol, opened_at_utc, closed_at_utc, open, high, low, close, volume, source]
  - unique: [symbol, opened_at_utc]
  - positive: [open, high, low, close]
  - expression: low <= least(open, close) and high >= greatest(open, close)
*/
create table market.bars (
    symbol varchar not null,
    opened_at_utc timestamp not null,
    closed_at_utc timestamp not null,
    open double not null,
    high double not null,
    low double not null,
    close double not null,
    volume double not null,
    source varchar not null,
    ingested_at_utc timestamp not null
);
