/*
description: >
  Round trips of a backtest: a symbol from the fill that opened a position to the one that left nothing of it. Net gains
  of all trades are the change of the account's value.
grain: one row per backtest and trade
columns:
  backtest: Name of the backtest.
  trade: Number of the trade, from 1, in the order of opening.
  symbol: Traded pair.
  opened_at_utc: Open of the bar at which it was bought first.
  closed_at_utc: Open of the bar at which the last of it was sold; the end of the range when it is still open.
  ended_by: Who ended it, the agent or a risk rule; end_of_range marks what is left at the last close.
  n_bars: Bars that it was held.
  n_fills: Fills.
  units: Base units bought in all.
  entry_usd: Mean price paid.
  exit_usd: Mean price got, the last close for what is left.
  gross_pnl_usd: Gain at the market's prices.
  fee_usd: Fees.
  slippage_usd: Slippage, half the spread and impact included.
  impact_usd: The part of slippage that our own orders caused.
  net_pnl_usd: Gain after fees and slippage.
  return_frac: Net gain over what was paid, fees included.
  worst_frac: Deepest fall below the entry price while it was held, at lows (maximum adverse excursion).
  best_frac: Highest rise above the entry price while it was held, at highs (maximum favourable excursion).
tests:
  - unique: [backtest, trade]
  - accepted: {ended_by: [agent, trailing_stop, move_to_cash, stop_loss, position_trailing_stop, end_of_range]}
  - positive: [units, entry_usd]
*/
create table lab.backtest_trades (
    backtest varchar not null,
    trade bigint not null,
    symbol varchar not null,
    opened_at_utc timestamp not null,
    closed_at_utc timestamp not null,
    ended_by varchar not null,
    n_bars bigint not null,
    n_fills bigint not null,
    units double not null,
    entry_usd double not null,
    exit_usd double not null,
    gross_pnl_usd double not null,
    fee_usd double not null,
    slippage_usd double not null,
    impact_usd double not null,
    net_pnl_usd double not null,
    return_frac double not null,
    worst_frac double not null,
    best_frac double not null,
    primary key (backtest, trade)
);
