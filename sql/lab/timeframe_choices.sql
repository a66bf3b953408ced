/*
description: The interval and lookback that won a timeframe search; the newest row is the one in use.
grain: one row per timeframe study
columns:
  study: The timeframe study.
  interval: Bar interval that won.
  lookback: Lookback that won, in bars.
  score: Mean score of the pair's completed trials.
  n_trials: Completed trials of the pair.
  holding_bars: How long its agents held positions, in bars; folds are purged by it.
  decided_at_utc: Clock time of the decision.
tests:
  - unique: [study]
*/
create table lab.timeframe_choices (
    study varchar primary key,
    interval varchar not null,
    lookback bigint not null,
    score double not null,
    n_trials bigint not null,
    decided_at_utc timestamp not null,
    holding_bars bigint
);
