/*
description: >
  How much of a trial's score is the luck of its seed: the same trial with other seeds. A score that no other seed
  reaches was picked, not earned.
grain: one row per trial that was trained again with other seeds
columns:
  study: Study.
  trial: Trial.
  score: Its score, with its own seed.
  n_seeds: Other seeds that completed.
  n_failed: Other seeds that did not.
  mean_score: Mean over the other seeds.
  score_deviation: Sample deviation over the other seeds; empty with fewer than two.
  min_score: Worst of the other seeds.
  max_score: Best of the other seeds.
  luck: Its own score less the mean of the others, in their deviations.
  as_good_frac: Share of the other seeds that did at least as well.
tests:
  - unique: [study, trial]
examples:
  - given:
      lab.trials:
        - {study: s, trial: 3, score: 4.0}
      lab.variants:
        - {study: s, trial: 3, kind: seed, variant: '1', state: complete, score: 1.0}
        - {study: s, trial: 3, kind: seed, variant: '2', state: complete, score: 3.0}
        - {study: s, trial: 3, kind: seed, variant: '3', state: failed}
        - {study: s, trial: 3, kind: ablation, variant: time_decay, state: complete, score: 9.0}
    expect:
      - {study: s, trial: 3, score: 4.0, n_seeds: 2, n_failed: 1, mean_score: 2.0, score_deviation: 1.4142135623730951, min_score: 1.0, max_score: 3.0, luck: 1.414213562373095, as_good_frac: 0.0}
*/
with seeds as (
    select
        study,
        trial,
        count(score) as n_seeds,
        count(*) filter (where state = 'failed') as n_failed,
        avg(score) as mean_score,
        stddev_samp(score) as score_deviation,
        min(score) as min_score,
        max(score) as max_score,
        list(score) filter (where score is not null) as scores
    from lab.variants
    where kind = 'seed'
    group by study, trial
)

select
    seeds.study,
    seeds.trial,
    lab.trials.score,
    seeds.n_seeds,
    seeds.n_failed,
    seeds.mean_score,
    seeds.score_deviation,
    seeds.min_score,
    seeds.max_score,
    (lab.trials.score - seeds.mean_score) / nullif(seeds.score_deviation, 0) as luck,
    len(list_filter(seeds.scores, lambda one: one >= lab.trials.score)) / nullif(seeds.n_seeds, 0) as as_good_frac
from seeds
inner join lab.trials using (study, trial)
order by seeds.study desc, seeds.trial
