/*
description: What a replay did at each of its moments, and why.
grain: one row per replay, moment and job
columns:
  replay: Name of the replay.
  moment_utc: The virtual present.
  job: trading (sync, desk, verdicts), whole_life (study, arena, desk) or matches (arena, desk).
  state: started (or killed in the middle), done, or stopped by an error that the organisation lives with.
  reason: Why it was due.
  detail: What stopped it, or failed checks; empty otherwise.
  duration_s: Seconds that it took.
tests:
  - unique: [replay, moment_utc, job]
  - accepted: {job: [trading, whole_life, matches]}
  - accepted: {state: [started, done, stopped]}
*/
create table replay.steps (
    replay varchar not null,
    moment_utc timestamp not null,
    job varchar not null,
    state varchar not null,
    reason varchar not null,
    detail varchar not null,
    duration_s double not null,
    primary key (replay, moment_utc, job)
);
