/*
description: >
  The verdict on a study: is the best of its trials more than luck? Decided when its holdout was opened, from daily net
  returns on the folds. docs/overfitting.md explains the figures.
grain: one row per study and benchmark
columns:
  study: The study.
  benchmark: What the returns are measured above - cash (nothing) or buy_and_hold (equal weights, rebalanced weekly).
  verdict: nothing here, weak or an edge.
  reasons: The figures that decided, a sentence for each question.
  best_trial: Trial with the best daily Sharpe on the folds.
  n_trials: >
    Trials that the choice rests on: all that the study started, failed and pruned ones too, and those of the search that
    chose its timeframe.
  n_completed: Trials with returns.
  n_effective_trials: What the trials are worth if those that are alike count once; for information.
  n_days: Days on the folds.
  sharpe_daily_365: Sharpe of the best trial.
  sharpe_low_daily_365: Lower end of its 95 % bootstrap interval.
  sharpe_high_daily_365: Upper end.
  luck_sharpe_daily_365: What the best of so many trials without any edge is expected to show.
  probabilistic_sharpe: Probability that the best trial's true Sharpe is positive, had it been the only one.
  deflated_sharpe: Probability that it is above luck; this one decides.
  deflated_sharpe_published: With the plain variance of the trials' Sharpes, as in the paper.
  deflated_sharpe_effective: With n_effective_trials.
  min_track_record_days: Days after which the best Sharpe would pass luck; empty when it is below luck.
  pbo: Probability of backtest overfitting; empty with one trial or too few days.
  loss_probability: Probability that the best on some days loses on others.
  holdout_sharpe_daily_365: Sharpe of the best trial in the holdout; empty without one.
  holdout_place: Its place there among all completed trials.
  rank_correlation: Spearman correlation of Sharpes on the folds and in the holdout.
  rank_p_value: Its p-value by permutation.
  mean_decay: Mean fall of the Sharpe (daily, 365) from folds to holdout.
  decided_at_utc: Clock time of the verdict.
tests:
  - unique: [study, benchmark]
  - accepted: {benchmark: [cash, buy_and_hold]}
  - accepted: {verdict: [nothing here, weak, an edge]}
*/
create table lab.overfitting (
    study varchar not null,
    benchmark varchar not null,
    verdict varchar not null,
    reasons varchar[] not null,
    best_trial bigint not null,
    n_trials bigint not null,
    n_completed bigint not null,
    n_effective_trials double not null,
    n_days bigint not null,
    sharpe_daily_365 double not null,
    sharpe_low_daily_365 double not null,
    sharpe_high_daily_365 double not null,
    luck_sharpe_daily_365 double not null,
    probabilistic_sharpe double not null,
    deflated_sharpe double not null,
    deflated_sharpe_published double not null,
    deflated_sharpe_effective double not null,
    min_track_record_days double,
    pbo double,
    loss_probability double,
    holdout_sharpe_daily_365 double,
    holdout_place bigint,
    rank_correlation double,
    rank_p_value double,
    mean_decay double,
    decided_at_utc timestamp not null,
    primary key (study, benchmark)
);
