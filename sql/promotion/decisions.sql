/*
description: Every promotion, demotion, replacement and retirement, append-only; stages are a view over it.
grain: one row per decision
columns:
  sequence: Order of the decisions, from 1.
  study: Study of the model.
  trial: Trial of the model.
  from_stage: Stage before; empty for a model that enters.
  to_stage: Stage after.
  action: enter, promote, replace, demote, retire or rollback.
  reason: Why, in words.
  figures: The numbers that were compared, as JSON.
  decided_by: rule or operator.
  decided_at_utc: Clock time of the decision.
tests:
  - unique: [sequence]
  - not_null: [study, trial, to_stage, action, reason, figures, decided_by, decided_at_utc]
  - accepted: {to_stage: [arena, sandbox, production, live, retired]}
  - accepted: {action: [enter, promote, replace, demote, retire, rollback]}
  - accepted: {decided_by: [rule, operator]}
*/
create table promotion.decisions (
    sequence bigint primary key,
    study varchar not null,
    trial bigint not null,
    from_stage varchar,
    to_stage varchar not null,
    action varchar not null,
    reason varchar not null,
    figures varchar not null,
    decided_by varchar not null,
    decided_at_utc timestamp not null
);
