/*
description: >
  The studies of the newest holdout that was opened, the newest of each kind: what is believed of them is shown side by
  side, since all were measured on the same bars there.
grain: one row per kind of study
columns:
  kind: training, trees or ensemble.
  study: The study.
  is_simulated: Whether the bars are simulated.
  from_utc: Begin of the holdout.
  to_utc: Its end.
  opened_at_utc: Clock time of the opening.
tests:
  - unique: [kind]
examples:
  - name: trees of the same holdout stand beside the newest training, those of an older one do not
    given:
      lab.studies:
        - {study: a, kind: training, as_of_utc: 2025-02-01, is_simulated: false}
        - {study: b, kind: training, as_of_utc: 2025-03-01, is_simulated: false}
        - {study: c, kind: trees, as_of_utc: 2025-03-01, is_simulated: false}
        - {study: d, kind: ensemble, as_of_utc: 2025-02-01, is_simulated: false}
        - {study: e, kind: training, as_of_utc: 2025-04-01, is_simulated: false}
      lab.holdouts:
        - {study: a, from_utc: 2025-01-20, to_utc: 2025-02-01, opened_at_utc: 2025-02-01}
        - {study: b, from_utc: 2025-02-20, to_utc: 2025-03-01, opened_at_utc: 2025-03-01}
        - {study: c, from_utc: 2025-02-20, to_utc: 2025-03-01, opened_at_utc: 2025-03-01}
        - {study: d, from_utc: 2025-01-20, to_utc: 2025-02-01, opened_at_utc: 2025-02-01}
    expect:
      - {kind: training, study: b, is_simulated: false, from_utc: 2025-02-20, to_utc: 2025-03-01, opened_at_utc: 2025-03-01}
      - {kind: trees, study: c, is_simulated: false, from_utc: 2025-02-20, to_utc: 2025-03-01, opened_at_utc: 2025-03-01}
*/
with opened as (
    select study, kind, as_of_utc, is_simulated, from_utc, to_utc, opened_at_utc
    from lab.holdouts
    inner join lab.studies using (study)
),

newest as (
    select from_utc, to_utc
    from opened
    order by as_of_utc desc, kind = 'training' desc, study desc
    limit 1
)

select kind, study, is_simulated, from_utc, to_utc, opened_at_utc
from opened
inner join newest using (from_utc, to_utc)
qualify row_number() over (partition by kind order by as_of_utc desc, study desc) = 1
order by list_position(['training', 'trees', 'ensemble'], kind)
