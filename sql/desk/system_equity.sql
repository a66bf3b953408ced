/*
description: >
  What the system was worth at the close of every bar that it traded, and at every day's end while it is in cash; all
  of it out of sample.
grain: one row per bar, or per UTC day in cash
columns:
  closed_at_utc: Close of the bar, or end of the day.
  study: Study of the model that decided; empty when nobody was in production.
  trial: Trial of that model.
  interval: Length of the bar; empty in cash. A bar without a model is the one that sold what the last model held.
  value_usd: Value of the account at the close.
  exposure_frac: Share of the value that is not cash.
  fee_usd: Fees paid in the bar.
  slippage_usd: Slippage paid in the bar.
  turnover_usd: Value traded in the bar.
  rules: Bit flags of the risk rules that acted.
tests:
  - unique: [closed_at_utc]
  - expression: value_usd > 0
  - expression: (study is null) = (trial is null)
  - expression: interval is not null or (study is null and exposure_frac = 0 and turnover_usd = 0)
*/
create table desk.system_equity (
    closed_at_utc timestamp primary key,
    study varchar,
    trial bigint,
    interval varchar,
    value_usd double not null,
    exposure_frac double not null,
    fee_usd double not null,
    slippage_usd double not null,
    turnover_usd double not null,
    rules bigint not null
);
