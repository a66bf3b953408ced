/*
description: >
  What stood in the way of trading: rules that acted, refusals, bad data, mismatches, outages.
grain: one row per event
columns:
  at_utc: When it happened.
  account: Account that it concerns; empty for all.
  kind: What it was.
  symbol: Pair that it concerns; empty for all.
  detail: What was found, with its numbers.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - not_null: [kind, detail]
*/
create table desk.events (
    at_utc timestamp not null,
    account varchar not null,
    kind varchar not null,
    symbol varchar not null,
    detail varchar not null,
    version bigint not null
);
