/*
description: How the trials of each study ended, and why those did not complete that did not.
grain: one row per study and ending
columns:
  study: Study.
  ending: complete, pruned, running, or what ended the last attempt of a failed trial (out_of_memory, disk_full, diverged, failed, killed).
  is_well: Whether a trial should end so; complete or pruned as hopeless.
  n_trials: Trials that ended so.
  share_frac: Share of the study's started trials.
  n_retried: Of them, those that needed more than one attempt, interruptions of the study aside.
  example: What the newest of them said.
tests:
  - unique: [study, ending]
examples:
  - given:
      lab.trials: [
        {study: s, trial: 0, state: complete, reason: null},
        {study: s, trial: 1, state: complete, reason: null},
        {study: s, trial: 2, state: failed, reason: the loss is not a number},
        {study: s, trial: 3, state: running, reason: null},
      ]
      lab.attempts: [
        {study: s, trial: 0, attempt: 1, outcome: complete},
        {study: s, trial: 1, attempt: 1, outcome: interrupted},
        {study: s, trial: 1, attempt: 2, outcome: killed},
        {study: s, trial: 1, attempt: 3, outcome: complete},
        {study: s, trial: 2, attempt: 1, outcome: diverged},
        {study: s, trial: 2, attempt: 2, outcome: diverged},
        {study: s, trial: 3, attempt: 1, outcome: interrupted},
      ]
    expect: [
      {study: s, ending: complete, is_well: true, n_trials: 2, share_frac: 0.5, n_retried: 1, example: null},
      {study: s, ending: diverged, is_well: false, n_trials: 1, share_frac: 0.25, n_retried: 1, example: the loss is not a number},
      {study: s, ending: running, is_well: null, n_trials: 1, share_frac: 0.25, n_retried: 0, example: null},
    ]
*/
with last_attempts as (
    select
        study,
        trial,
        arg_max(outcome, attempt) as outcome,
        count(*) filter (where outcome <> 'interrupted') as n_attempts
    from lab.attempts
    group by study, trial
),

ended as (
    select
        lab.trials.study,
        lab.trials.trial,
        lab.trials.reason,
        if(lab.trials.state = 'failed', coalesce(last_attempts.outcome, 'failed'), lab.trials.state) as ending,
        coalesce(last_attempts.n_attempts, 0) as n_attempts
    from lab.trials
    left join last_attempts using (study, trial)
)

select
    study,
    ending,
    if(ending = 'running', null, ending in ('complete', 'pruned')) as is_well,
    count(*) as n_trials,
    count(*) / sum(count(*)) over (partition by study) as share_frac,
    count(*) filter (where n_attempts > 1) as n_retried,
    arg_max(reason, trial) as example
from ended
group by study, ending
order by study desc, n_trials desc, ending
