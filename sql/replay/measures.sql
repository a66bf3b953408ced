/*
description: >
  How the system did over a whole replay, after costs, beside the baselines over the same days at the same costs.
  Everything is computed from the values at the end of each UTC day, for everybody, and annualised with 365 days.
grain: one row per replay and subject
columns:
  replay: Name of the replay.
  subject: system, or the name of a baseline.
  from_utc: When the accounts opened.
  to_utc: End of the newest day.
  n_days: Days with a return.
  total_return_frac: Value at the end over value at the start, minus 1.
  annualized_return_frac: The same per year of 365 days.
  alpha_frac: Total return minus that of equal-weight buy-and-hold without costs on the same days.
  sharpe_annualized: Mean over deviation of daily net returns, times the root of 365.
  sortino_annualized: As Sharpe, over the deviation of losses only.
  calmar: Annualised return over the largest drawdown.
  information_ratio_annualized: Mean over deviation of the returns above buy-and-hold, annualised.
  max_drawdown_frac: Largest fall from a peak, as a share of the peak.
  max_drawdown_days: Longest time below a peak, in days.
  volatility_annualized: Deviation of daily returns, annualised.
  tail_loss_frac: Mean of the worst 5 % of days (expected shortfall), as a positive share.
  win_rate_frac: Share of closing trades with a gain.
  profit_factor: Gains over losses of closing trades.
  turnover_per_day: Traded value over account value, per day.
  trades_per_month: Fills per month of 365/12 days.
  exposure_frac: Mean share of the value that is not cash.
  fees_usd: Fees paid.
  slippage_usd: Slippage paid.
tests:
  - unique: [replay, subject]
*/
create table replay.measures (
    replay varchar not null,
    subject varchar not null,
    from_utc timestamp not null,
    to_utc timestamp not null,
    n_days bigint not null,
    total_return_frac double not null,
    annualized_return_frac double not null,
    alpha_frac double not null,
    sharpe_annualized double not null,
    sortino_annualized double not null,
    calmar double not null,
    information_ratio_annualized double not null,
    max_drawdown_frac double not null,
    max_drawdown_days bigint not null,
    volatility_annualized double not null,
    tail_loss_frac double not null,
    win_rate_frac double not null,
    profit_factor double not null,
    turnover_per_day double not null,
    trades_per_month double not null,
    exposure_frac double not null,
    fees_usd double not null,
    slippage_usd double not null,
    primary key (replay, subject)
);
