/*
description: >
  Every study of thresholds: one subject over one range before the holdout, once under each point of a grid, and whether
  the best of them is more than luck. Running it again replaces it. The points stand in lab.thresholds.
grain: one row per threshold study
columns:
  threshold_study: Name; the same for the same subject, range, settings and points.
  subject: STUDY/TRIAL, or the name of a baseline.
  study: Study of the model; empty for a baseline.
  trial: Trial of the model.
  interval: Bar interval.
  symbols: Traded pairs.
  from_utc: When the accounts were opened, the close of the first decision.
  to_utc: Close of the last bar; never inside the holdout.
  is_simulated: Whether the bars are simulated.
  cash_usd: Opening value.
  trained_from_utc: First bar that the model was trained on; empty for a baseline.
  trained_until_utc: End of the bars that the model was trained on.
  in_sample_frac: Share of the range that the model was trained on. What is above 0 is no evidence of anything.
  n_points: Points that were tried, today's included; luck is reckoned with all of them.
  n_days: Whole days that they were judged by.
  best_point: Point with the best daily Sharpe, the first of equals.
  today_place: Place of today's settings by daily Sharpe.
  conclusion: What the study is worth, in a sentence.
  verdict: nothing here, weak or an edge, on the best point against cash; docs/overfitting.md.
  reasons: The figures that decided, a sentence for each question.
  best_sharpe_daily_365: Sharpe of the best point, from daily returns, annualised.
  today_sharpe_daily_365: The same of today's settings.
  luck_sharpe_daily_365: What the best of so many points without any edge is expected to show.
  deflated_sharpe: Probability that the best point's true Sharpe is above luck.
  pbo: Probability of backtest overfitting; empty with one point or too few days.
  difference_sharpe_daily_365: Sharpe of the best point minus that of today's settings.
  difference_low_daily_365: Lower end of its 95 % bootstrap interval, which knows nothing of the choice.
  difference_high_daily_365: Upper end.
  difference_per_day_frac: Mean daily return of the best point minus that of today's settings.
  difference_low_per_day_frac: Lower end of its 95 % bootstrap interval.
  difference_high_per_day_frac: Upper end.
  p_value: >
    How often the best of so many points, none of them better than today's, would lead by as much (White's reality
    check); 1 when today's are the best.
  seed: Seed of the draws and of random entry.
  settings: Costs, risk rules and account of today, as JSON.
  bars_fingerprint: Hash of every bar in use.
  code_version: Version of Cappuccino.
  made_at_utc: The present when it was run.
tests:
  - unique: [threshold_study]
  - expression: in_sample_frac between 0 and 1
  - expression: from_utc < to_utc
  - expression: p_value > 0 and p_value <= 1
  - accepted: {verdict: [nothing here, weak, an edge]}
*/
create table lab.threshold_studies (
    threshold_study varchar primary key,
    subject varchar not null,
    study varchar,
    trial bigint,
    interval varchar not null,
    symbols varchar[] not null,
    from_utc timestamp not null,
    to_utc timestamp not null,
    is_simulated boolean not null,
    cash_usd double not null,
    trained_from_utc timestamp,
    trained_until_utc timestamp,
    in_sample_frac double not null,
    n_points bigint not null,
    n_days bigint not null,
    best_point bigint not null,
    today_place bigint not null,
    conclusion varchar not null,
    verdict varchar not null,
    reasons varchar[] not null,
    best_sharpe_daily_365 double not null,
    today_sharpe_daily_365 double not null,
    luck_sharpe_daily_365 double not null,
    deflated_sharpe double not null,
    pbo double,
    difference_sharpe_daily_365 double not null,
    difference_low_daily_365 double not null,
    difference_high_daily_365 double not null,
    difference_per_day_frac double not null,
    difference_low_per_day_frac double not null,
    difference_high_per_day_frac double not null,
    p_value double not null,
    seed bigint not null,
    settings varchar not null,
    bars_fingerprint varchar not null,
    code_version varchar not null,
    made_at_utc timestamp not null
);
