/*
description: Fees that venues take, each time that the trader read another tier.
grain: one row per reading
columns:
  at_utc: When it was read.
  broker: Venue.
  name: The venue's name for the tier.
  maker_frac: Fee of a fill from the book, as a share of its value.
  taker_frac: Fee of any other fill.
  volume_usd: What was traded in 30 days.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - expression: maker_frac <= 1 and taker_frac <= 1
*/
create table desk.fee_tiers (
    at_utc timestamp not null,
    broker varchar not null,
    name varchar not null,
    maker_frac double not null,
    taker_frac double not null,
    volume_usd double not null,
    version bigint not null
);
