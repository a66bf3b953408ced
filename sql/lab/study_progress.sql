/*
description: How far each study is, and how many of its trials ended well.
grain: one row per study
columns:
  study: Study.
  kind: timeframe or training.
  state: State of the study.
  trial_cap: Most trials that it may start.
  n_started: Trials started.
  n_complete: Trials completed.
  n_pruned: Trials stopped as hopeless.
  n_failed: Trials that failed.
  best_score: Best score so far.
  trial_minutes: Wall time of all trials together, in minutes.
  env_steps: Environment steps of all trials together.
*/
select
    lab.studies.study,
    lab.studies.kind,
    lab.studies.state,
    lab.studies.trial_cap,
    count(lab.trials.trial) as n_started,
    count(*) filter (where lab.trials.state = 'complete') as n_complete,
    count(*) filter (where lab.trials.state = 'pruned') as n_pruned,
    count(*) filter (where lab.trials.state = 'failed') as n_failed,
    max(lab.trials.score) as best_score,
    sum(lab.trials.duration_s) / 60 as trial_minutes,
    sum(lab.trials.env_steps) as env_steps
from lab.studies
left join lab.trials using (study)
group by all
order by lab.studies.study desc
