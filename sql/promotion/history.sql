/*
description: Every decision, newest first, readable.
grain: one row per decision
columns:
  sequence: Order of the decisions.
  decided_at_utc: Clock time of the decision.
  model: STUDY/TRIAL.
  action: What was decided.
  from_stage: Stage before.
  to_stage: Stage after.
  decided_by: rule or operator.
  reason: Why, in words.
  figures: The numbers that were compared, as JSON.
*/
select
    sequence,
    decided_at_utc,
    study || '/' || trial as model,
    action,
    from_stage,
    to_stage,
    decided_by,
    reason,
    figures
from promotion.decisions
order by sequence desc
