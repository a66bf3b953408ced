/*
description: What every paper account was worth at each bar's close, beside equal-weight buy-and-hold from the same start.
grain: one row per model and bar
columns:
  study: Study of the model.
  trial: Trial of the model.
  closed_at_utc: Close of the bar.
  stage: Stage in which the model traded the bar.
  value_usd: Value of the account at the close.
  benchmark_usd: Value of equal-weight buy-and-hold, bought at the account's opening without costs.
  exposure_frac: Share of the value that is not cash.
  fee_usd: Fees paid in the bar.
  slippage_usd: Slippage paid in the bar.
  turnover_usd: Value traded in the bar.
  rules: Bit flags of the risk rules that acted.
tests:
  - unique: [study, trial, closed_at_utc]
  - expression: value_usd > 0
  - accepted: {stage: [sandbox, production, live]}
*/
create table desk.equity (
    study varchar not null,
    trial bigint not null,
    closed_at_utc timestamp not null,
    stage varchar not null,
    value_usd double not null,
    benchmark_usd double not null,
    exposure_frac double not null,
    fee_usd double not null,
    slippage_usd double not null,
    turnover_usd double not null,
    rules bigint not null,
    primary key (study, trial, closed_at_utc)
);
