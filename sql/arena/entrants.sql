/*
description: Models in the order in which they entered the arena.
grain: one row per model
columns:
  study: Study of the model.
  trial: Trial of the model.
  position: Place in the order of entering, from 1.
  entered_at_utc: Clock time of entering.
tests:
  - unique: [study, trial]
*/
select
    study,
    trial,
    row_number() over (order by sequence) as position,
    decided_at_utc as entered_at_utc
from promotion.decisions
where action = 'enter'
