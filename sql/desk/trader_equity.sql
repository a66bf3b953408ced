/*
description: What every account of the trader was worth at each bar's close. desk.equity has one line of it per model.
grain: one row per account and bar
columns:
  account: >
    Account of the trader: STUDY/TRIAL of a virtual one, the broker's name of a real one.
  closed_at_utc: Close of the bar.
  stage: Stage in which the model traded the bar.
  study: Study of the model that traded.
  trial: Trial of the model that traded.
  value_usd: Value of the account at the close.
  benchmark_usd: Value of equal-weight buy-and-hold from the same start, without costs.
  exposure_frac: Share of the value that is not cash.
  fee_usd: Fees paid in the bar.
  slippage_usd: Slippage paid in the bar.
  turnover_usd: Value traded in the bar.
  rules: Bit flags of the risk rules that acted.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - unique: [account, closed_at_utc]
*/
create table desk.trader_equity (
    account varchar not null,
    closed_at_utc timestamp not null,
    stage varchar not null,
    study varchar not null,
    trial bigint not null,
    value_usd double not null,
    benchmark_usd double not null,
    exposure_frac double not null,
    fee_usd double not null,
    slippage_usd double not null,
    turnover_usd double not null,
    rules bigint not null,
    version bigint not null,
    primary key (account, closed_at_utc)
);
