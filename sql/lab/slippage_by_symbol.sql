/*
description: What trading each symbol cost an account in all, on paper and in backtests.
grain: one row per account and symbol
columns:
  kind: paper or backtest.
  account: STUDY/TRIAL of a paper account, or the name of a backtest.
  is_simulated: Whether the bars are simulated.
  symbol: Traded pair.
  n_fills: Fills.
  notional_usd: Traded value.
  delay_usd: Cost of the moves from decision to market; below 0 where they came our way.
  slippage_usd: Cost of the fills against the market.
  fee_usd: Fees.
  shortfall_usd: All of them.
  slippage_bps: Slippage over traded value.
  fee_bps: Fees over traded value.
  shortfall_bps: All of them over traded value.
tests:
  - unique: [kind, account, symbol]
*/
select
    kind,
    account,
    is_simulated,
    symbol,
    count(*) as n_fills,
    sum(notional_usd) as notional_usd,
    sum(delay_usd) as delay_usd,
    sum(slippage_usd) as slippage_usd,
    sum(fee_usd) as fee_usd,
    sum(shortfall_usd) as shortfall_usd,
    1e4 * sum(slippage_usd) / sum(notional_usd) as slippage_bps,
    1e4 * sum(fee_usd) / sum(notional_usd) as fee_bps,
    1e4 * sum(shortfall_usd) / sum(notional_usd) as shortfall_bps
from lab.slippage
group by all
order by kind, account, symbol
