/*
description: >
  Every fill of a backtest with what it cost against the price that it was decided on (implementation shortfall, Perold
  1988).
grain: one row per backtest, bar and symbol that traded
columns:
  backtest: Name of the backtest.
  filled_at_utc: Open of the bar at which the order was filled.
  symbol: Traded pair.
  units: Bought (above 0) or sold (below 0), in base units.
  decision_usd: Close that was decided on.
  market_usd: Open that was filled at.
  price_usd: Price of the fill, slippage included.
  delay_usd: Cost of the move from decision to market; below 0 where it came our way.
  slippage_usd: Cost of the fill against the market, half the spread and impact included.
  impact_usd: The part of slippage that our own order caused.
  fee_usd: Fee of the fill.
  shortfall_usd: Delay, slippage and fee.
  slippage_bps: Slippage over the value at the market's price.
  shortfall_bps: Shortfall over the value at the price that was decided on.
  realized_pnl_usd: Gain over the average entry, after the fee, for a sale; 0 for a purchase.
tests:
  - unique: [backtest, filled_at_utc, symbol]
  - positive: [decision_usd, market_usd, price_usd]
  - expression: units <> 0
*/
create table lab.backtest_fills (
    backtest varchar not null,
    filled_at_utc timestamp not null,
    symbol varchar not null,
    units double not null,
    decision_usd double not null,
    market_usd double not null,
    price_usd double not null,
    delay_usd double not null,
    slippage_usd double not null,
    impact_usd double not null,
    fee_usd double not null,
    shortfall_usd double not null,
    slippage_bps double not null,
    shortfall_bps double not null,
    realized_pnl_usd double not null,
    primary key (backtest, filled_at_utc, symbol)
);
