/*
description: >
  The worst tenth of each study's trials that were judged at all, pruned ones included, with what is known of why. They
  are compared by their mean distance from the other trials on the same folds, so that a trial that was pruned after an
  easy fold does not look good.
grain: one row per study and trial of its worst tenth
columns:
  study: Study.
  trial: Trial.
  place: Place from below, 1 is the worst.
  state: complete or pruned.
  score: Its score; empty when it was pruned.
  distance: Mean over its folds of its score less the mean of all trials on that fold.
  n_folds: Folds that it was judged on.
  collapsed: How its policies collapsed on validation bars (lab.trials); empty when they decide.
  flags: What went wrong in its trainings (lab.trial_figures).
  reason: Why it was pruned.
tests:
  - unique: [study, trial]
examples:
  - given:
      lab.trials:
        - {study: s, trial: 0, state: complete, score: 1.0, fold_scores: [2.0, 0.0], collapsed: null}
        - {study: s, trial: 1, state: complete, score: 2.0, fold_scores: [3.0, 1.0], collapsed: null}
        - {study: s, trial: 2, state: pruned, fold_scores: [-2.0], collapsed: cash, reason: hopeless}
        - {study: s, trial: 3, state: failed, reason: no memory}
      lab.trial_figures:
        - {study: s, trial: 2, flags: [still]}
    expect:
      - {study: s, trial: 2, place: 1, state: pruned, score: null, distance: -3.0, n_folds: 1, collapsed: cash, flags: [still], reason: hopeless}
*/
with folds as (
    select
        study,
        trial,
        unnest(fold_scores) as score,
        generate_subscripts(fold_scores, 1) as fold
    from lab.trials
    where state in ('complete', 'pruned')
),

distances as (
    select
        study,
        trial,
        score - avg(score) over (partition by study, fold) as distance
    from folds
    where isfinite(score)
),

placed as (
    select
        study,
        trial,
        avg(distance) as distance,
        count(*) as n_folds,
        row_number() over (partition by study order by avg(distance), trial) as place,
        count(*) over (partition by study) as n_trials
    from distances
    group by study, trial
)

select
    placed.study,
    placed.trial,
    placed.place,
    lab.trials.state,
    lab.trials.score,
    placed.distance,
    placed.n_folds,
    lab.trials.collapsed,
    coalesce(lab.trial_figures.flags, []) as flags,
    lab.trials.reason
from placed
inner join lab.trials using (study, trial)
left join lab.trial_figures using (study, trial)
where placed.place <= ceil(placed.n_trials / 10)
order by placed.study desc, placed.place
