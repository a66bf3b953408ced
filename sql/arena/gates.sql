/*
description: >
  The arena's door: every candidate with the figures that were asked of it. Who was refused is asked again when the
  figures of the gate change.
grain: one row per candidate
columns:
  study: Study of the candidate.
  trial: Trial of the candidate.
  sharpe_annualized: Mean over its folds (an ensemble - the bars after its members' training).
  profit_factor: Median over its folds.
  min_sharpe: What was asked.
  min_profit_factor: What was asked.
  passed: Whether it entered.
  reason: Why not; empty when it passed.
  judged_at_utc: Clock time of the judgement.
tests:
  - unique: [study, trial]
  - expression: passed or reason is not null
  - expression: passed = (sharpe_annualized >= min_sharpe and profit_factor >= min_profit_factor)
*/
create table arena.gates (
    study varchar not null,
    trial bigint not null,
    sharpe_annualized double not null,
    profit_factor double not null,
    min_sharpe double not null,
    min_profit_factor double not null,
    passed boolean not null,
    reason varchar,
    judged_at_utc timestamp not null,
    primary key (study, trial)
);
