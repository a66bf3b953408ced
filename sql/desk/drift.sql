/*
description: >
  How far the trader's days are from their replay: the same decisions made again from the stored state and the
  warehouse's bars, and the day traded again in the engine. Zero where trading is what the backtest is.
grain: one row per account, model and UTC day that has ended
columns:
  account: >
    Account of the trader: STUDY/TRIAL of a virtual one, the broker's name of a real one.
  study: Study of the model.
  trial: Trial of the model.
  day: UTC day of the closes that were decided on.
  n_decisions: Decisions at bars' closes.
  equal_frac: >
    Share of them whose targets are the same when they are made again, within 1e-6; empty where that could not be
    done.
  max_difference_frac: Largest difference of a target weight.
  mean_difference_frac: Mean difference of the target weights.
  from_utc: >
    Close of the day's first decision: the replay begins with the account as it was then.
  to_utc: Close at which the values are compared.
  value_usd: Value of the account then.
  replayed_usd: Value of the replayed account then.
  drift_frac: Value over the replayed one, less 1.
  n_fills: Orders of the account that were filled between the two closes, in part or whole.
  n_replayed_fills: Fills of the replay.
  message: >
    What a person should know: a drift above 1 %, or why there is none; empty when all is well.
tests:
  - unique: [account, study, trial, day]
*/
create table desk.drift (
    account varchar not null,
    study varchar not null,
    trial bigint not null,
    day date not null,
    n_decisions bigint not null,
    equal_frac double,
    max_difference_frac double,
    mean_difference_frac double,
    from_utc timestamp not null,
    to_utc timestamp,
    value_usd double,
    replayed_usd double,
    drift_frac double,
    n_fills bigint not null,
    n_replayed_fills bigint,
    message varchar not null,
    primary key (account, study, trial, day)
);
