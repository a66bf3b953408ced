/*
description: >
  Every fill of the trader with what it cost: implementation shortfall against the price decided on, slippage against
  the market.
grain: one row per fill
columns:
  fill: Key of the fill.
  client_id: Order, see desk.orders.
  account: >
    Account of the trader: STUDY/TRIAL of a virtual one, the broker's name of a real one.
  study: Study of the model that traded.
  trial: Trial of the model that traded.
  symbol: Pair.
  units: Bought (above 0) or sold (below 0).
  price_usd: Price, per unit.
  fee_usd: Fee, coins at the price of the fill.
  fee_units: The part of the fee that was taken in the coin, in units.
  slippage_usd: Cost against the market's price when the order was made; a gain is below 0.
  shortfall_usd: >
    Implementation shortfall: cost against the price that was decided on, fee included; a gain is below 0.
  realized_pnl_usd: Gain over the average entry, after fees, of a sale; 0 for a purchase.
  is_maker: Whether the order rested in the book; empty when the venue does not say.
  filled_at_utc: When it was booked.
  maker_target_frac: >
    execution.maker_share_target_frac when the fill was copied: what the share of makers is compared with.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - unique: [fill]
  - positive: [price_usd]
  - expression: units <> 0
*/
create table desk.order_fills (
    fill varchar not null,
    client_id varchar not null,
    account varchar not null,
    study varchar not null,
    trial bigint not null,
    symbol varchar not null,
    units double not null,
    price_usd double not null,
    fee_usd double not null,
    fee_units double not null,
    slippage_usd double not null,
    shortfall_usd double not null,
    realized_pnl_usd double not null,
    is_maker boolean,
    filled_at_utc timestamp not null,
    maker_target_frac double not null,
    version bigint not null,
    primary key (fill)
);
