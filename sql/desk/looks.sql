/*
description: What every account was worth at each look at the market, about once a minute.
grain: one row per account and look
columns:
  account: >
    Account of the trader: STUDY/TRIAL of a virtual one, the broker's name of a real one.
  at_utc: When the trader looked.
  value_usd: Value of the account.
  cash_usd: The part of it that is cash.
  exposure_frac: Share of the value that is not cash.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - unique: [account, at_utc]
*/
create table desk.looks (
    account varchar not null,
    at_utc timestamp not null,
    value_usd double not null,
    cash_usd double not null,
    exposure_frac double not null,
    version bigint not null,
    primary key (account, at_utc)
);
