/*
description: >
  How much of what every account traded rested in the book, and so paid the lower fee, beside the share that was aimed at,
  and what the day's fills cost against the prices they were decided on.
grain: one row per account and UTC day with a fill
columns:
  account: Account of the trader.
  day: UTC day.
  n_fills: Fills.
  traded_usd: Unsigned value of the fills.
  maker_usd: The part of it that was filled from the book.
  unknown_usd: The part of which the venue does not say.
  maker_frac: Share of the traded value that was filled from the book; what is unknown counts as not.
  maker_target_frac: Share that was aimed at, see `execution.maker_share_target_frac`.
  fee_usd: Fees.
  shortfall_usd: >
    Implementation shortfall: cost against the prices that were decided on, fees included; below 0 is a gain.
  shortfall_bps: The same as a share of the traded value, in hundredths of a percent.
  slippage_bps: Cost against the market's price when the orders were made, as a share of the traded value.
tests:
  - unique: [account, day]
  - expression: maker_frac between 0 and 1
examples:
  - name: half of the value from the book; shortfall of 3 in 3000 is ten basis points
    given:
      desk.order_fills:
        - {fill: f1, client_id: a, account: x, study: s, trial: 1, symbol: A/USD, units: 10, price_usd: 100, fee_usd: 1, fee_units: 0, slippage_usd: 0, shortfall_usd: 1, realized_pnl_usd: 0, is_maker: true, filled_at_utc: 2025-01-01 01:00:00, maker_target_frac: 0.7, version: 1}
        - {fill: f2, client_id: b, account: x, study: s, trial: 1, symbol: A/USD, units: -5, price_usd: 100, fee_usd: 2, fee_units: 0, slippage_usd: 1, shortfall_usd: 1.5, realized_pnl_usd: 0, is_maker: false, filled_at_utc: 2025-01-01 02:00:00, maker_target_frac: 0.7, version: 2}
        - {fill: f3, client_id: b, account: x, study: s, trial: 1, symbol: A/USD, units: -15, price_usd: 100, fee_usd: 2, fee_units: 0, slippage_usd: 2, shortfall_usd: 0.5, realized_pnl_usd: 0, filled_at_utc: 2025-01-01 03:00:00, maker_target_frac: 0.7, version: 2}
    expect:
      - {account: x, n_fills: 3, traded_usd: 3000, maker_usd: 1000, unknown_usd: 1500, maker_target_frac: 0.7, fee_usd: 5, shortfall_usd: 3, shortfall_bps: 10, slippage_bps: 10}
*/
with days as (
    select
        account,
        filled_at_utc::date as day,
        count(*) as n_fills,
        sum(abs(units) * price_usd) as traded_usd,
        coalesce(sum(abs(units) * price_usd) filter (is_maker), 0) as maker_usd,
        coalesce(sum(abs(units) * price_usd) filter (is_maker is null), 0) as unknown_usd,
        arg_max(maker_target_frac, filled_at_utc) as maker_target_frac,
        sum(fee_usd) as fee_usd,
        sum(slippage_usd) as slippage_usd,
        sum(shortfall_usd) as shortfall_usd
    from desk.order_fills
    group by account, day
)

select
    account,
    day,
    n_fills,
    traded_usd,
    maker_usd,
    unknown_usd,
    maker_usd / traded_usd as maker_frac,
    maker_target_frac,
    fee_usd,
    shortfall_usd,
    1e4 * shortfall_usd / traded_usd as shortfall_bps,
    1e4 * slippage_usd / traded_usd as slippage_bps
from days
order by day desc, account
