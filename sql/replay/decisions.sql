/*
description: Every decision on models that a replay took, under its own name; the real decisions are elsewhere.
grain: one row per replay and decision
columns:
  replay: Name of the replay.
  sequence: Order of the decisions, from 1.
  study: Study of the model.
  trial: Trial of the model.
  from_stage: Stage before; empty for a model that enters.
  to_stage: Stage after.
  action: enter, promote, replace, demote, retire or rollback.
  reason: Why, in words.
  figures: The numbers that were compared, as JSON.
  decided_by: rule or operator.
  decided_at_utc: Virtual time of the decision.
tests:
  - unique: [replay, sequence]
  - accepted: {to_stage: [arena, sandbox, production, live, retired]}
*/
create table replay.decisions (
    replay varchar not null,
    sequence bigint not null,
    study varchar not null,
    trial bigint not null,
    from_stage varchar,
    to_stage varchar not null,
    action varchar not null,
    reason varchar not null,
    figures varchar not null,
    decided_by varchar not null,
    decided_at_utc timestamp not null,
    primary key (replay, sequence)
);
