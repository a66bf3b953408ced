/*
description: >
  Features of every interval that the timeframe search looks at; one more column for each feature in use. The value at
  a bar uses bars that had closed with it, no later ones.
grain: one row per interval, symbol and bar open
extensible: double
columns:
  interval: Length of the bar.
  symbol: Traded pair, base/quote.
  opened_at_utc: UTC time at which the bar opened.
tests:
  - not_null: [interval, symbol, opened_at_utc]
  - unique: [interval, symbol, opened_at_utc]
*/
create table features.features (
    interval varchar not null,
    symbol varchar not null,
    opened_at_utc timestamp not null
);
