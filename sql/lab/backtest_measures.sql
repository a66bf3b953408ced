/*
description: How the subject of a backtest did, and every baseline on the same bars at the same costs.
grain: one row per backtest and subject
columns:
  backtest: Name of the backtest.
  subject: The subject of the backtest, or the name of a baseline beside it.
  is_baseline: Whether it stands beside the subject.
  n_bars: Bars with a return.
  total_return_frac: Value at the end over value at the start, minus 1.
  annualized_return_frac: The same per year of 365 days.
  alpha_frac: Total return minus that of equal-weight buy-and-hold without costs on the same bars.
  sharpe_annualized: Mean over deviation of per-bar net returns, times the root of bars per year.
  sharpe_daily_365: Mean over deviation of daily net returns, times the root of 365.
  sortino_annualized: As Sharpe, over the deviation of losses only.
  calmar: Annualised return over the largest drawdown.
  information_ratio_annualized: Mean over deviation of the returns above buy-and-hold, annualised.
  max_drawdown_frac: Largest fall from a peak, as a share of the peak.
  max_drawdown_bars: Longest time below a peak, in bars.
  volatility_annualized: Deviation of per-bar returns, annualised.
  tail_loss_frac: Mean of the worst 5 % of bars (expected shortfall), as a positive share.
  win_rate_frac: Share of sales with a gain.
  profit_factor: Gains over losses of sales, at most 1,000.
  turnover_per_day: Traded value over account value, per day.
  trades_per_month: Fills per month of 365/12 days.
  exposure_frac: Mean share of the value that is not cash.
  fees_usd: Fees paid.
  slippage_usd: Slippage paid, half the spread and impact included.
tests:
  - unique: [backtest, subject]
*/
create table lab.backtest_measures (
    backtest varchar not null,
    subject varchar not null,
    is_baseline boolean not null,
    n_bars bigint not null,
    total_return_frac double not null,
    annualized_return_frac double not null,
    alpha_frac double not null,
    sharpe_annualized double not null,
    sharpe_daily_365 double not null,
    sortino_annualized double not null,
    calmar double not null,
    information_ratio_annualized double not null,
    max_drawdown_frac double not null,
    max_drawdown_bars bigint not null,
    volatility_annualized double not null,
    tail_loss_frac double not null,
    win_rate_frac double not null,
    profit_factor double not null,
    turnover_per_day double not null,
    trades_per_month double not null,
    exposure_frac double not null,
    fees_usd double not null,
    slippage_usd double not null,
    primary key (backtest, subject)
);
