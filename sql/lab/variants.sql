/*
description: >
  Good trials trained again with one thing changed: another seed, or one part of the reward left out
  (`cappuccino study probe`). The folds alone; no model is kept.
grain: one row per trial, kind and variant
columns:
  study: Study of the trial.
  trial: Trial that was varied.
  kind: seed (everything else the same) or ablation (one part of the reward at 0).
  variant: The seed as text, or the name of the part.
  seed: Seed that it was trained with.
  state: complete or failed.
  score: Mean of the folds' annualised Sharpe ratios; empty when it failed.
  fold_scores: The folds' scores.
  equity_sha256: Hash of the bits of its equity curves on the folds.
  collapsed: How its policies collapsed on validation bars (lab.trials); empty when they decide.
  reason: Why it failed.
  duration_s: Wall time of its process, in seconds.
  code_version: Version of Cappuccino that trained it.
tests:
  - unique: [study, trial, kind, variant]
  - accepted: {kind: [seed, ablation]}
  - accepted: {state: [complete, failed]}
  - expression: (state = 'complete') = (score is not null)
*/
create table lab.variants (
    study varchar not null,
    trial bigint not null,
    kind varchar not null,
    variant varchar not null,
    seed bigint not null,
    state varchar not null,
    score double,
    fold_scores double[],
    equity_sha256 varchar,
    collapsed varchar,
    reason varchar,
    duration_s double not null,
    code_version varchar not null,
    primary key (study, trial, kind, variant)
);
