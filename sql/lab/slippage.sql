/*
description: >
  What every fill cost, on paper and in backtests, against the price that it was decided on: implementation shortfall.
grain: one row per account, bar and symbol that traded
columns:
  kind: paper or backtest.
  account: STUDY/TRIAL of a paper account, or the name of a backtest.
  is_simulated: Whether the bars are simulated.
  filled_at_utc: Open of the bar at which the order was filled.
  symbol: Traded pair.
  units: Bought (above 0) or sold (below 0), in base units.
  notional_usd: Unsigned value at the price of the fill.
  decision_usd: Close that was decided on; empty when that bar is not there any more.
  market_usd: Open that was filled at.
  price_usd: Price of the fill.
  delay_usd: Cost of the move from decision to market; below 0 where it came our way.
  slippage_usd: Cost of the fill against the market, half the spread and impact included.
  fee_usd: Fee.
  shortfall_usd: Delay, slippage and fee.
  slippage_bps: Slippage over the value at the market's price.
  shortfall_bps: Shortfall over the value at the price that was decided on.
tests:
  - unique: [kind, account, filled_at_utc, symbol]
examples:
  - name: a purchase on paper that was decided on at 100, when the market opened at 101
    given:
      desk.fills:
        - {study: s, trial: 1, filled_at_utc: 2025-01-01 01:00:00, symbol: A/USD, units: 2, price_usd: 102, fee_usd: 1, slippage_usd: 2}
      lab.studies:
        - {study: s, is_simulated: true}
      lab.trials:
        - {study: s, trial: 1, interval: 1h}
      market.bars_all:
        - {symbol: A/USD, interval: 1h, closed_at_utc: 2025-01-01 01:00:00, close: 100}
        - {symbol: A/USD, interval: 4h, closed_at_utc: 2025-01-01 01:00:00, close: 7}
    expect:
      - {kind: paper, account: s/1, is_simulated: true, notional_usd: 204, decision_usd: 100, market_usd: 101, delay_usd: 2, slippage_usd: 2, shortfall_usd: 5, shortfall_bps: 250}
*/
with on_paper as (
    select
        'paper' as kind,
        desk.fills.study || '/' || desk.fills.trial as account,
        lab.studies.is_simulated,
        desk.fills.filled_at_utc,
        desk.fills.symbol,
        desk.fills.units,
        market.bars_all.close as decision_usd,
        desk.fills.price_usd - desk.fills.slippage_usd / desk.fills.units as market_usd,
        desk.fills.price_usd,
        desk.fills.slippage_usd,
        desk.fills.fee_usd
    from desk.fills
    left join lab.studies on lab.studies.study = desk.fills.study
    left join lab.trials on lab.trials.study = desk.fills.study and lab.trials.trial = desk.fills.trial
    left join market.bars_all
        on market.bars_all.symbol = desk.fills.symbol
        and market.bars_all.interval = lab.trials.interval
        and market.bars_all.closed_at_utc = desk.fills.filled_at_utc
),

in_backtests as (
    select
        'backtest' as kind,
        backtest as account,
        lab.backtests.is_simulated,
        filled_at_utc,
        symbol,
        units,
        decision_usd,
        market_usd,
        price_usd,
        slippage_usd,
        fee_usd
    from lab.backtest_fills
    inner join lab.backtests using (backtest)
),

filled as (
    select * from on_paper
    union all
    select * from in_backtests
),

delayed as (
    select *, units * (market_usd - decision_usd) as delay_usd from filled
)

select
    kind,
    account,
    is_simulated,
    filled_at_utc,
    symbol,
    units,
    abs(units) * price_usd as notional_usd,
    decision_usd,
    market_usd,
    price_usd,
    delay_usd,
    slippage_usd,
    fee_usd,
    delay_usd + slippage_usd + fee_usd as shortfall_usd,
    1e4 * slippage_usd / (abs(units) * market_usd) as slippage_bps,
    1e4 * (delay_usd + slippage_usd + fee_usd) / (abs(units) * decision_usd) as shortfall_bps
from delayed
order by kind, account, filled_at_utc, symbol
