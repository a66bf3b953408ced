/*
description: >
  Holdouts that have been opened, each once, after its study and the arena had chosen. The bars inside were in no array of
  a search and in no panel of a match before.
grain: one row per study
columns:
  study: The study.
  from_utc: Begin of the holdout.
  to_utc: Its end, the newest bar when the study was planned.
  n_models: Completed trials that were judged on it.
  n_windows_inside: Windows of the arena inside it, counted before it was opened; with more than 0 nothing was judged.
  n_opened_before: >
    Studies of the same kind whose holdouts, opened before, have bars in common with it. Each look at the same bars makes
    the next one worth less.
  opened_at_utc: Clock time of the opening.
tests:
  - unique: [study]
  - expression: n_windows_inside = 0 or n_models = 0
  - expression: from_utc < to_utc
*/
create table lab.holdouts (
    study varchar primary key,
    from_utc timestamp not null,
    to_utc timestamp not null,
    n_models bigint not null,
    n_windows_inside bigint not null,
    opened_at_utc timestamp not null,
    n_opened_before bigint
);
