/*
description: >
  Every time that a trial was trained again from what was stored, and whether weights, equity and scores came out the
  same to the last bit (`cappuccino reproduce`). Rows are never changed.
grain: one row per trial and reproduction
columns:
  study: Study of the trial.
  trial: Number of the trial.
  reproduction: Number of the reproduction of this trial, from 1.
  reproduced_at_utc: Clock time of the reproduction.
  is_equal: Whether everything that was stored came out the same.
  different: What did not.
  weight_sha256: Hash of the weights that came out; empty when none were stored.
  equity_sha256: Hash of the equity curves that came out; empty when none was stored.
  notes: What was not as it had been, code or packages, though it was trained all the same.
  device: Device and precision that it ran on.
  code_version: Version of Cappuccino that trained again.
  duration_s: Wall time, in seconds.
tests:
  - unique: [study, trial, reproduction]
  - expression: is_equal = (len(different) = 0)
*/
create table lab.reproductions (
    study varchar not null,
    trial bigint not null,
    reproduction bigint not null,
    reproduced_at_utc timestamp not null,
    is_equal boolean not null,
    different varchar[] not null,
    weight_sha256 varchar,
    equity_sha256 varchar,
    notes varchar,
    device varchar not null,
    code_version varchar not null,
    duration_s double not null,
    primary key (study, trial, reproduction)
);
