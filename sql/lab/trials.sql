/*
description: Every trial of every study, failed and pruned ones included.
grain: one row per study and trial
columns:
  study: Study of the trial.
  trial: Number of the trial within its study, from 0.
  state: running, complete, pruned or failed.
  interval: Bar interval of the agent.
  lookback: Bars that the agent sees.
  parameters: Hyper-parameters as they were chosen, as JSON; lab.attempts has the minibatch that fitted into memory.
  seed: Seed of the trial.
  score: Mean walk-forward score over the folds; empty unless complete.
  fold_scores: Score of each finished fold.
  started_as_of_utc: Clock time of the study step that started it.
  duration_s: Wall time of the trial's process, in seconds.
  env_steps: Environment steps of all its trainings.
  artifact: Folder of the model below the artifacts folder; empty unless complete.
  weight_sha256: Hash of the weights file.
  equity_sha256: Hash of the bits of its equity curves on the folds, for `cappuccino reproduce`.
  reason: Why it was pruned or failed.
  collapsed: >
    How its policies collapsed on most of their validation bars: cash (they never traded), constant (the action hardly
    moved) or held (they traded on one bar only); empty when they decide, or when no fold was finished.
  action_spread: Deviation over validation bars of the action in [-1, 1], mean over symbols and folds.
tests:
  - unique: [study, trial]
  - accepted: {state: [running, complete, pruned, failed]}
  - accepted: {collapsed: [cash, constant, held]}
  - relationship: {column: study, to: lab.studies.study}
  - expression: trial >= 0 and trial < 1000
  - expression: state <> 'complete' or score is not null
*/
create table lab.trials (
    study varchar not null,
    trial bigint not null,
    state varchar not null,
    interval varchar not null,
    lookback bigint not null,
    parameters varchar not null,
    seed bigint not null,
    score double,
    fold_scores double[],
    started_as_of_utc timestamp not null,
    duration_s double,
    env_steps bigint,
    artifact varchar,
    weight_sha256 varchar,
    reason varchar,
    collapsed varchar,
    action_spread double,
    equity_sha256 varchar,
    primary key (study, trial)
);
