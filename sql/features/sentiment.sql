/*
description: >
  What somebody says of each symbol, for agents whose features.inputs name `sentiment`. Nothing here fills it: whoever
  has such figures adds rows, and never changes one that was known, because models were trained on it.
grain: one row per symbol and moment at which something new was known
columns:
  symbol: Traded pair, base/quote, as in market.bars.
  known_at_utc: UTC time from which we knew it, not that of the event; a bar that closes then or later may see it.
  score: Mood, from -1 (bearish) to 1 (bullish).
  momentum: Change of the score since the time that the feeder compares with, from -2 to 2.
  attention: How much is said, in units of what is usual, 0 or more; 1 is an ordinary day.
  disagreement: How far voices differ, from 0 (they are one) to 1.
  source: Who says so.
  ingested_at_utc: Clock time at which the row was stored; empty when the feeder does not say.
tests:
  - not_null: [symbol, known_at_utc, score, momentum, attention, disagreement]
  - unique: [symbol, known_at_utc]
  - expression: isfinite(score) and isfinite(momentum) and isfinite(attention) and isfinite(disagreement)
  - expression: abs(score) <= 1 and abs(momentum) <= 2 and attention >= 0 and disagreement between 0 and 1
*/
create table features.sentiment (
    symbol varchar not null,
    known_at_utc timestamp not null,
    score double not null,
    momentum double not null,
    attention double not null,
    disagreement double not null,
    source varchar,
    ingested_at_utc timestamp,
    primary key (symbol, known_at_utc)
);
