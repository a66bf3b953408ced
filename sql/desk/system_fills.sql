/*
description: Every fill of the system's account, those of a hand-over included.
grain: one row per bar and symbol that traded
columns:
  filled_at_utc: Open of the bar at which the order was filled.
  symbol: Traded pair.
  units: Bought (above 0) or sold (below 0), in base units.
  price_usd: Price of the fill, slippage included.
  fee_usd: Fee of the fill.
  slippage_usd: Cost of the slippage against the bar's open.
  realized_pnl_usd: Gain over the average entry, after the fee, for a sale; 0 for a purchase.
  study: Study of the model that decided; empty for the sale after production was left to nobody.
  trial: Trial of that model.
tests:
  - unique: [filled_at_utc, symbol]
  - positive: [price_usd]
  - expression: units <> 0
  - expression: study is not null or units < 0
*/
create table desk.system_fills (
    filled_at_utc timestamp not null,
    symbol varchar not null,
    units double not null,
    price_usd double not null,
    fee_usd double not null,
    slippage_usd double not null,
    realized_pnl_usd double not null,
    study varchar,
    trial bigint,
    primary key (filled_at_utc, symbol)
);
