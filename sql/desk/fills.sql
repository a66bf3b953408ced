/*
description: Every paper fill.
grain: one row per model, bar and symbol that traded
columns:
  study: Study of the model.
  trial: Trial of the model.
  filled_at_utc: Open of the bar at which the order was filled.
  symbol: Traded pair.
  units: Bought (above 0) or sold (below 0), in base units.
  price_usd: Price of the fill, slippage included.
  fee_usd: Fee of the fill.
  slippage_usd: Cost of the slippage against the bar's open.
  realized_pnl_usd: Gain over the average entry, after the fee, for a sale; 0 for a purchase.
tests:
  - unique: [study, trial, filled_at_utc, symbol]
  - positive: [price_usd]
  - expression: units <> 0
*/
create table desk.fills (
    study varchar not null,
    trial bigint not null,
    filled_at_utc timestamp not null,
    symbol varchar not null,
    units double not null,
    price_usd double not null,
    fee_usd double not null,
    slippage_usd double not null,
    realized_pnl_usd double not null,
    primary key (study, trial, filled_at_utc, symbol)
);
