/*
description: >
  The four ensembles of a study, each of their members alone and the ensembles before them, on the same bars: none of them
  trained on these, all pay the same costs under the same rules. lab.ensembles_beside_single compares.
grain: one row per ensemble study and contestant
columns:
  study: Study of the ensembles.
  subject: Kind of vote of an ensemble, or STUDY/TRIAL of a member or an ensemble of before.
  role: ensemble, member or previous.
  trial: Trial of an ensemble within the study; empty for others.
  rank: Place of a member by walk-forward score, from 1, as it was known before these bars; empty for others.
  walk_forward_score: Score of a member's own trial; empty for others.
  from_utc: First decision.
  to_utc: End of the bars.
  n_bars: Bars with a return.
  sharpe_annualized: Mean over deviation of per-bar net returns, times the root of bars per year; the score.
  total_return_frac: Value at the end over value at the start, minus 1.
  alpha_frac: Total return minus that of equal-weight buy-and-hold on the same bars.
  max_drawdown_frac: Largest fall from a peak, as a share of the peak.
  profit_factor: Gains over losses of closing trades.
  exposure_frac: Mean share of the value that is not cash.
  turnover_per_day: Traded value over account value, per day.
  trades_per_month: Fills per month of 365/12 days.
  fees_usd: Fees paid.
  slippage_usd: Slippage paid.
tests:
  - unique: [study, subject]
  - accepted: {role: [ensemble, member, previous]}
  - expression: (role = 'ensemble') = (trial is not null)
  - expression: (role = 'member') = (rank is not null)
*/
create table lab.ensemble_scores (
    study varchar not null,
    subject varchar not null,
    role varchar not null,
    trial bigint,
    rank bigint,
    walk_forward_score double,
    from_utc timestamp not null,
    to_utc timestamp not null,
    n_bars bigint not null,
    sharpe_annualized double not null,
    total_return_frac double not null,
    alpha_frac double not null,
    max_drawdown_frac double not null,
    profit_factor double not null,
    exposure_frac double not null,
    turnover_per_day double not null,
    trades_per_month double not null,
    fees_usd double not null,
    slippage_usd double not null,
    primary key (study, subject)
);
