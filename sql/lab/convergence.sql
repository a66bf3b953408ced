/*
description: How the best score of each study grew from trial to trial, and since when it has not.
grain: one row per study and completed trial
columns:
  study: Study.
  trial: Trial.
  score: Its score.
  best_so_far: Best score up to here.
  is_record: Whether it was better than all before it.
  share_frac: Share of the way from the first score to the study's best that was gone by here.
  n_since_record: Completed trials since the last record.
tests:
  - unique: [study, trial]
examples:
  - given:
      lab.trials:
        - {study: s, trial: 0, state: complete, score: 1.0}
        - {study: s, trial: 1, state: pruned}
        - {study: s, trial: 2, state: complete, score: 2.0}
        - {study: s, trial: 3, state: complete, score: 1.5}
        - {study: s, trial: 4, state: complete, score: 3.0}
        - {study: alone, trial: 0, state: complete, score: -1.0}
    expect:
      - {study: s, trial: 0, best_so_far: 1.0, is_record: true, share_frac: 0.0, n_since_record: 0}
      - {study: s, trial: 2, best_so_far: 2.0, is_record: true, share_frac: 0.5, n_since_record: 0}
      - {study: s, trial: 3, best_so_far: 2.0, is_record: false, share_frac: 0.5, n_since_record: 1}
      - {study: s, trial: 4, best_so_far: 3.0, is_record: true, share_frac: 1.0, n_since_record: 0}
      - {study: alone, trial: 0, best_so_far: -1.0, is_record: true, share_frac: 1.0, n_since_record: 0}
*/
with completed as (
    select
        study,
        trial,
        score,
        row_number() over trials_so_far as place,
        max(score) over trials_so_far as best_so_far,
        first_value(score) over trials_so_far as first_score,
        max(score) over (partition by study) as final_best
    from lab.trials
    where state = 'complete' and isfinite(score)
    window trials_so_far as (partition by study order by trial rows unbounded preceding)
),

records as (
    select
        *,
        place = 1 or best_so_far > lag(best_so_far) over (partition by study order by trial) as is_record
    from completed
)

select
    study,
    trial,
    score,
    best_so_far,
    is_record,
    if(final_best = first_score, 1.0, (best_so_far - first_score) / (final_best - first_score)) as share_frac,
    place - max(if(is_record, place, null)) over (
        partition by study
        order by trial rows unbounded preceding
    ) as n_since_record
from records
order by study desc, trial
