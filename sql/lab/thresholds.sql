/*
description: >
  What a subject did under each point of a study of thresholds, all in one run through the traders' engine. A threshold
  of 0 is off; one that is scaled is a multiple of the volatility of a day, others are fractions.
grain: one row per threshold study and point
columns:
  threshold_study: The study, in lab.threshold_studies.
  point: Number of the point, from 0; 0 are today's settings.
  place: Place by daily Sharpe among all points; equals share the best.
  is_today: Whether these are today's settings.
  is_best: Whether it was chosen, the first with the best daily Sharpe.
  in_grid: Whether it belongs to the grid; the others are today's settings and those that were tried by symbol.
  symbol: The only symbol whose stop-loss differs from today's; empty where thresholds are for all.
  portfolio_trailing_stop_frac: Fall of the portfolio below its cycle's peak that sells everything.
  profit_take_frac: Gain of the portfolio that sells half of each position.
  move_to_cash_frac: Gain of the portfolio that sells everything.
  protection_scaled: Whether these three are multiples of volatility.
  stop_loss_frac: Fall of a position below its average entry that sells it; of `symbol`, where there is one.
  position_trailing_stop_frac: Fall of a position below its peak price that sells it.
  position_scaled: Whether these two are multiples of volatility.
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
  n_trailing_stop: Bars on which the portfolio's trailing stop fired.
  n_move_to_cash: Bars on which move-to-cash fired.
  n_profit_take: Bars on which the profit take fired.
  n_kept_out: Bars on which move-to-cash stayed out.
  n_stop_loss: Bars on which a stop-loss fired.
  n_position_trailing_stop: Bars on which a position's trailing stop fired.
  n_weight_cap: Bars on which a wanted weight was cut.
tests:
  - unique: [threshold_study, point]
  - relationship: {column: threshold_study, to: lab.threshold_studies.threshold_study}
  - expression: is_today = (point = 0)
  - expression: place >= 1
*/
create table lab.thresholds (
    threshold_study varchar not null,
    point bigint not null,
    place bigint not null,
    is_today boolean not null,
    is_best boolean not null,
    in_grid boolean not null,
    symbol varchar,
    portfolio_trailing_stop_frac double not null,
    profit_take_frac double not null,
    move_to_cash_frac double not null,
    protection_scaled boolean not null,
    stop_loss_frac double not null,
    position_trailing_stop_frac double not null,
    position_scaled boolean not null,
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
    n_trailing_stop bigint not null,
    n_move_to_cash bigint not null,
    n_profit_take bigint not null,
    n_kept_out bigint not null,
    n_stop_loss bigint not null,
    n_position_trailing_stop bigint not null,
    n_weight_cap bigint not null,
    primary key (threshold_study, point)
);
