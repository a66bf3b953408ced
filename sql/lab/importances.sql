/*
description: Share of the score's variance that each hyper-parameter explains (PED-ANOVA), after the study.
grain: one row per study and hyper-parameter
columns:
  study: Study.
  parameter: Name of the hyper-parameter.
  importance_frac: Share, all of a study add up to 1.
  n_trials: Completed trials behind the figure; a few dozen say little.
tests:
  - unique: [study, parameter]
*/
create table lab.importances (
    study varchar not null,
    parameter varchar not null,
    importance_frac double not null,
    n_trials bigint not null,
    primary key (study, parameter)
);
