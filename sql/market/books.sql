/*
description: >
  Order books as they were seen: how much was wanted and offered on the best levels. For agents whose features.inputs
  name `book_imbalance`, which is (bid_units - ask_units) / (bid_units + ask_units).
grain: one row per symbol, moment and source
columns:
  symbol: Traded pair, base/quote.
  seen_at_utc: UTC time at which the book was seen; a bar that closes then or later may see it.
  bid_units: Base units wanted on the best bid levels.
  ask_units: Base units offered on the best ask levels.
  source: Where the book came from (alpaca, files, simulated, ...); simulated books are not real.
tests:
  - not_null: [symbol, seen_at_utc, bid_units, ask_units, source]
  - unique: [symbol, seen_at_utc, source]
  - expression: bid_units >= 0 and ask_units >= 0 and bid_units + ask_units > 0
  - expression: isfinite(bid_units) and isfinite(ask_units)
*/
create table market.books (
    symbol varchar not null,
    seen_at_utc timestamp not null,
    bid_units double not null,
    ask_units double not null,
    source varchar not null,
    primary key (symbol, seen_at_utc, source)
);
