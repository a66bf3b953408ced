/*
description: >
  Where the gain of a backtest came from. By symbol and by factor the rows add up to the account's gain; by cost they
  are what was paid. Factors in the manner of Brinson, Hood and Beebower: market (the mean exposure all the time), timing
  (more or less than that), selection (other symbols than the market), delay, slippage, impact, fees.
grain: one row per backtest, kind and part
columns:
  backtest: Name of the backtest.
  kind: symbol, factor or cost.
  part: The symbol, or the name of the factor or cost.
  pnl_usd: What it brought; costs are negative.
  return_contribution_frac: That over the opening value.
  cost_bps: Of costs, what was paid over what was traded; empty for others.
  fee_usd: Of symbols, fees paid; empty for others.
  slippage_usd: Of symbols, slippage paid without impact.
  impact_usd: Of symbols, impact paid.
  delay_usd: Of symbols, the cost of the move from decision to market.
  held_frac: Of symbols, share of the bars at whose close it was held.
  weight_frac: Of symbols, mean share of the account.
tests:
  - unique: [backtest, kind, part]
  - accepted: {kind: [symbol, factor, cost]}
*/
create table lab.backtest_attribution (
    backtest varchar not null,
    kind varchar not null,
    part varchar not null,
    pnl_usd double not null,
    return_contribution_frac double not null,
    cost_bps double,
    fee_usd double,
    slippage_usd double,
    impact_usd double,
    delay_usd double,
    held_frac double,
    weight_frac double,
    primary key (backtest, kind, part)
);
