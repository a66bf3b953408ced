/*
description: >
  The system at the end of each UTC day, beside what anybody could have done from its opening on: equal-weight
  buy-and-hold without costs, and every baseline at the system's costs.
grain: one row per subject and UTC day; every day has all subjects
columns:
  closed_at_utc: End of the day.
  subject: system, buy_and_hold (never rebalanced, without costs; what alpha is measured against), or a baseline's name.
  value_usd: Value at the end of the day.
  exposure_frac: Mean share of the value that was not cash, over the day.
  fees_usd: Fees paid in the day.
  slippage_usd: Slippage paid in the day.
  turnover_frac: Sum over the day's bars of traded value over account value.
  n_fills: Fills of the day.
  trade_pnls: Gain of every sale of the day in USD, after fees.
  state: What a baseline holds at the end of the day, as JSON, to go on from; empty for the others.
tests:
  - unique: [subject, closed_at_utc]
  - positive: [value_usd]
  - expression: closed_at_utc = date_trunc('day', closed_at_utc)
*/
create table desk.system_baselines (
    closed_at_utc timestamp not null,
    subject varchar not null,
    value_usd double not null,
    exposure_frac double not null,
    fees_usd double not null,
    slippage_usd double not null,
    turnover_frac double not null,
    n_fills bigint not null,
    trade_pnls double[] not null,
    state varchar,
    primary key (subject, closed_at_utc)
);
