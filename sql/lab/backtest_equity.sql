/*
description: The account of a backtest's subject at the close of every bar.
grain: one row per backtest and bar
columns:
  backtest: Name of the backtest.
  closed_at_utc: Close of the bar.
  value_usd: Value of the account, after costs.
  market_usd: What equal-weight buy-and-hold without costs would be worth.
  exposure_frac: Share of the value that is not cash.
  fee_usd: Fees of the bar.
  slippage_usd: Slippage of the bar, half the spread and impact included.
  turnover_usd: Value that was traded.
  rules: Sum of the flags of risk rules that changed orders.
tests:
  - unique: [backtest, closed_at_utc]
  - positive: [value_usd]
*/
create table lab.backtest_equity (
    backtest varchar not null,
    closed_at_utc timestamp not null,
    value_usd double not null,
    market_usd double not null,
    exposure_frac double not null,
    fee_usd double not null,
    slippage_usd double not null,
    turnover_usd double not null,
    rules bigint not null,
    primary key (backtest, closed_at_utc)
);
