/*
description: Every process that worked on a trial, with its end; a trial that ran out of memory has several.
grain: one row per study, trial and attempt
columns:
  study: Study of the trial.
  trial: Number of the trial.
  attempt: Number of the attempt, from 1.
  outcome: complete, pruned, out_of_memory, disk_full, diverged, failed, killed or interrupted (the study's process ended first).
  batch_size: Minibatch of the attempt, in samples; halved when memory ran out; 0 for trees, which have none.
  learning_rate: Learning rate of the attempt; halved when training diverged.
  duration_s: Wall time, in seconds.
  cpu_s: Processor time of the process, where it could report it.
  peak_memory_mb: Largest resident memory of the process, with what it shares with others, where it could report it.
  private_memory_mb: Largest memory that was its own, seen after a fold and at the end; what one more worker costs.
  reason: What the process said at its end.
tests:
  - unique: [study, trial, attempt]
  - accepted: {outcome: [complete, pruned, out_of_memory, disk_full, diverged, failed, killed, interrupted]}
*/
create table lab.attempts (
    study varchar not null,
    trial bigint not null,
    attempt bigint not null,
    outcome varchar not null,
    batch_size bigint not null,
    duration_s double not null,
    peak_memory_mb double,
    reason varchar not null,
    learning_rate double,
    cpu_s double,
    private_memory_mb double,
    primary key (study, trial, attempt)
);
