/*
description: Bars of 1h, without holes; empty when the base interval is longer.
grain: one row per symbol and bar open
columns:
  symbol: Traded pair, base/quote.
  opened_at_utc: UTC time at which the bar opened.
  closed_at_utc: UTC time from which the bar is known.
  open: First price, in quote currency.
  high: Highest price, in quote currency.
  low: Lowest price, in quote currency.
  close: Last price, in quote currency.
  volume: Traded amount, in base units.
  is_filled: True where no complete bar was recorded and the last close stands in.
*/
select symbol, opened_at_utc, closed_at_utc, open, high, low, close, volume, is_filled
from market.bars_all
where interval = '1h'
