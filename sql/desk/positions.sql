/*
description: >
  What every account of the trader holds, as of its newest look; symbols that it holds nothing of have 0 units.
grain: one row per account and symbol
columns:
  account: >
    Account of the trader: STUDY/TRIAL of a virtual one, the broker's name of a real one.
  symbol: Pair.
  units: Units held by our book.
  entry_usd: Mean price paid; 0 where nothing is held.
  peak_usd: Highest price since the position was opened; 0 where nothing is held.
  price_usd: Price of the newest look.
  value_usd: Units at that price.
  venue_units: Units that the venue says are there, when it was asked last; empty for a virtual account.
  at_utc: When this was written.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - unique: [account, symbol]
*/
create table desk.positions (
    account varchar not null,
    symbol varchar not null,
    units double not null,
    entry_usd double not null,
    peak_usd double not null,
    price_usd double not null,
    value_usd double not null,
    venue_units double,
    at_utc timestamp not null,
    version bigint not null,
    primary key (account, symbol)
);
