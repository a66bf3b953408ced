/*
description: Every search for agents; a study can be continued until its cap or its stop rule.
grain: one row per study
columns:
  study: Name of the study; with a trial number it names a model.
  kind: >
    timeframe (cheap trials over intervals and lookbacks), training (networks on the winning pair only), trees
    (gradient-boosted trees on the same bars and folds) or ensemble (four ways to vote among trials of the others).
  state: running, complete (cap reached), converged (stop rule), failed (no trial
    completed) or superseded (another one began before it ended).
  as_of_utc: Clock time of the decision to study; no later bar was seen.
  seed: Seed of the sampler and of every trial.
  trial_cap: Most trials that the study may start.
  symbols: Traded pairs, in the order of the actions.
  interval: Bar interval, for training studies.
  lookback: Bars that an agent sees, for training studies.
  is_simulated: Whether the bars are simulated.
  data_start_utc: First bar of the study's data.
  data_end_utc: Close of the newest bar that there was; training, arena and holdout lie before it.
  train_end_utc: End of the training range, the last bar that the study saw; later bars belong to the arena.
  holdout_from_utc: >
    Begin of the holdout, the end of the arena's range at that moment. Neither search nor arena gets bars from here on.
  data_fingerprint: Hash of every bar and feature that the study saw.
  bars_from_utc: Open of the first bar that the data depend on, the warm-up of its features included.
  bars_fingerprint: Fingerprint of the base bars from there to the end of training, when the study was planned.
  code_version: Version of Cappuccino.
  packages: Versions of Python and of the packages that results may depend on, as JSON.
  settings: The configuration, as JSON.
  finished_at_utc: Clock time of the end, empty while it runs.
tests:
  - unique: [study]
  - accepted: {kind: [timeframe, training, trees, ensemble]}
  - accepted: {state: [running, complete, converged, failed, superseded]}
*/
create table lab.studies (
    study varchar primary key,
    kind varchar not null,
    state varchar not null,
    as_of_utc timestamp not null,
    seed bigint not null,
    trial_cap bigint not null,
    symbols varchar[] not null,
    interval varchar,
    lookback bigint,
    is_simulated boolean not null,
    data_start_utc timestamp not null,
    data_end_utc timestamp not null,
    train_end_utc timestamp not null,
    data_fingerprint varchar not null,
    code_version varchar not null,
    settings varchar not null,
    finished_at_utc timestamp,
    bars_from_utc timestamp,
    bars_fingerprint varchar,
    holdout_from_utc timestamp,
    packages varchar
);
