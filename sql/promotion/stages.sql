/*
description: The present stage of every model.
grain: one row per model
columns:
  study: Study of the model.
  trial: Trial of the model.
  stage: arena, sandbox, production, live or retired.
  from_stage: Stage before; empty for a model that entered.
  since_utc: When it came to this stage.
  reason: Why it is there.
  sequence: The decision that put it there.
tests:
  - unique: [study, trial]
  - expression: stage <> 'production' or (select count(*) from promotion.stages where stage = 'production') = 1
examples:
  - name: the newest decision counts
    given:
      promotion.decisions:
        - {sequence: 1, study: s, trial: 0, from_stage: null, to_stage: arena, action: enter, reason: new, figures: '{}', decided_by: rule, decided_at_utc: 2025-01-01}
        - {sequence: 2, study: s, trial: 0, from_stage: arena, to_stage: sandbox, action: promote, reason: streak, figures: '{}', decided_by: rule, decided_at_utc: 2025-01-02}
    expect:
      - {study: s, trial: 0, stage: sandbox, from_stage: arena, since_utc: 2025-01-02, reason: streak, sequence: 2}
*/
select
    study,
    trial,
    arg_max(to_stage, sequence) as stage,
    arg_max_null(from_stage, sequence) as from_stage,
    arg_max(decided_at_utc, sequence) as since_utc,
    arg_max(reason, sequence) as reason,
    max(sequence) as sequence
from promotion.decisions
group by study, trial
order by
    list_position(['live', 'production', 'sandbox', 'arena', 'retired'], stage),
    since_utc desc,
    study,
    trial
