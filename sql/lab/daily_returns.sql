/*
description: >
  Net returns by day of every agent and baseline on the ranges that it was judged on: what deflated Sharpe ratios and the
  probability of overfitting are computed from.
grain: one row per study, trial, subject, scope, fold and day
columns:
  study: Study of the trial.
  trial: Trial of the agent; -1 for a baseline.
  subject: agent, or the name of a baseline.
  scope: validation, arena or holdout, as in lab.evaluations.
  fold: Number of the fold, from 0; 0 outside validation.
  closed_at_utc: End of the day; days are counted from the first bar of the range.
  return_frac: Compounded net return of the day, after costs.
tests:
  - unique: [study, trial, subject, scope, fold, closed_at_utc]
  - accepted: {scope: [validation, arena, holdout]}
*/
create table lab.daily_returns (
    study varchar not null,
    trial bigint not null,
    subject varchar not null,
    scope varchar not null,
    fold bigint not null,
    closed_at_utc timestamp not null,
    return_frac double not null,
    primary key (study, trial, subject, scope, fold, closed_at_utc)
);
