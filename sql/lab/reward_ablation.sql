/*
description: >
  What each part of the reward does for a trial: its score with the part left out, everything else the same, beside its
  own. A change smaller than what another seed makes says nothing.
grain: one row per trial and part of the reward that was left out
columns:
  study: Study.
  trial: Trial.
  part: Part of the reward that was left out.
  weight: Weight that it had.
  score: Score of the trial as it is.
  score_without: Score without the part; empty when that training failed.
  change: What leaving it out brought; below 0 the part is of use.
  change_in_seeds: The same in deviations of the score over other seeds; empty before there are two.
  is_told: Whether it is more than two such deviations.
  collapsed: How the policies without it collapsed; empty when they decide.
tests:
  - unique: [study, trial, part]
examples:
  - given:
      lab.trials:
        - {study: s, trial: 3, score: 4.0, parameters: '{"time_decay": 0.002, "turnover_penalty": 0.001}'}
      lab.variants:
        - {study: s, trial: 3, kind: ablation, variant: time_decay, state: complete, score: 0.5, collapsed: cash}
        - {study: s, trial: 3, kind: ablation, variant: turnover_penalty, state: failed}
      lab.seed_sensitivity:
        - {study: s, trial: 3, score_deviation: 0.5}
    expect:
      - {study: s, trial: 3, part: time_decay, weight: 0.002, score: 4.0, score_without: 0.5, change: -3.5, change_in_seeds: -7.0, is_told: true, collapsed: cash}
      - {study: s, trial: 3, part: turnover_penalty, weight: 0.001, score: 4.0, score_without: null, change: null, change_in_seeds: null, is_told: null, collapsed: null}
*/
with ablated as (
    select study, trial, variant as part, score as score_without, collapsed
    from lab.variants
    where kind = 'ablation'
),

beside as (
    select
        ablated.study,
        ablated.trial,
        ablated.part,
        json_extract_string(lab.trials.parameters, '$.' || ablated.part)::double as weight,
        lab.trials.score,
        ablated.score_without,
        ablated.score_without - lab.trials.score as change,
        (ablated.score_without - lab.trials.score) / nullif(lab.seed_sensitivity.score_deviation, 0) as change_in_seeds,
        ablated.collapsed
    from ablated
    inner join lab.trials using (study, trial)
    left join lab.seed_sensitivity using (study, trial)
)

select
    study,
    trial,
    part,
    weight,
    score,
    score_without,
    change,
    change_in_seeds,
    abs(change_in_seeds) > 2 as is_told,
    collapsed
from beside
order by study desc, trial, change
