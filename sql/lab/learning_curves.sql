/*
description: >
  How the trials of a study learned: each figure of lab.updates from update to update, as the middle and the spread over
  trials beside the best trial. A trial's value is the mean over its trainings; trials that were pruned or failed count
  as far as they came.
grain: one row per study, figure and update
columns:
  study: Study.
  figure: Name of a figure of lab.updates.
  update: Number of the update within a training, from 1.
  n_trials: Trials that got so far.
  low: A tenth of the trials is below.
  median: Half of the trials is below.
  high: A tenth of the trials is above.
  best_trial: The trial with the best score; empty while none is complete.
  best: Its value.
tests:
  - unique: [study, figure, update]
examples:
  - name: the mean over a trial's trainings, then quantiles over trials
    given:
      lab.trials:
        - {study: s, trial: 0, score: 0.5}
        - {study: s, trial: 1, score: 0.9}
        - {study: s, trial: 2}
      lab.updates:
        - {study: s, trial: 0, training: fold-0, update: 1, entropy: 1.0}
        - {study: s, trial: 0, training: final, update: 1, entropy: 3.0}
        - {study: s, trial: 1, training: fold-0, update: 1, entropy: 3.0}
        - {study: s, trial: 2, training: fold-0, update: 1, entropy: 4.0}
        - {study: s, trial: 2, training: fold-0, update: 2, entropy: 5.0}
        - {study: young, trial: 0, training: fold-0, update: 1, entropy: 7.0}
    where: figure = 'entropy'
    expect:
      - {study: s, figure: entropy, update: 1, n_trials: 3, low: 2.2, median: 3.0, high: 3.8, best_trial: 1, best: 3.0}
      - {study: s, figure: entropy, update: 2, n_trials: 1, low: 5.0, median: 5.0, high: 5.0, best_trial: 1, best: null}
      - {study: young, figure: entropy, update: 1, n_trials: 1, low: 7.0, median: 7.0, high: 7.0, best_trial: null, best: null}
*/
with trial_updates as (
    select
        study,
        trial,
        update,
        avg(columns(* exclude (study, trial, training, update, n_env_steps, duration_s)))
    from lab.updates
    group by study, trial, update
),

figures as (
    unpivot trial_updates on columns(* exclude (study, trial, update)) into name figure value amount
),

winners as (
    select study, arg_max(trial, score) as best_trial
    from lab.trials
    where score is not null
    group by study
)

select
    figures.study,
    figures.figure,
    figures.update,
    count(*) as n_trials,
    quantile_cont(figures.amount, 0.1) as low,
    median(figures.amount) as median,
    quantile_cont(figures.amount, 0.9) as high,
    any_value(winners.best_trial) as best_trial,
    any_value(figures.amount) filter (where figures.trial = winners.best_trial) as best
from figures
left join winners using (study)
group by figures.study, figures.figure, figures.update
order by figures.study desc, figures.figure, figures.update
