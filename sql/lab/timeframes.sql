/*
description: How each pair of interval and lookback did in its timeframe search.
grain: one row per timeframe study, interval and lookback
columns:
  study: The timeframe study.
  interval: Bar interval.
  lookback: Bars that an agent sees.
  n_started: Trials that were started.
  n_complete: Trials that were completed.
  mean_score: Mean walk-forward score.
  best_score: Best walk-forward score.
  mean_holding_days: >
    How long agents held a position on their folds: mean exposure over half the turnover a day; empty when none traded.
  is_winner: Whether training uses this pair.
*/
with cheap_trials as (
    select *
    from lab.trials
    where study in (select study from lab.studies where kind = 'timeframe')
),

holdings as (
    select study, trial, avg(2 * exposure_frac / nullif(turnover_per_day, 0)) as holding_days
    from lab.evaluations
    where scope = 'validation' and subject = 'agent'
    group by study, trial
),

winners as (
    select study, interval, lookback from lab.timeframe_choices
)

select
    cheap_trials.study,
    cheap_trials.interval,
    cheap_trials.lookback,
    count(*) as n_started,
    count(*) filter (where cheap_trials.state = 'complete') as n_complete,
    avg(cheap_trials.score) as mean_score,
    max(cheap_trials.score) as best_score,
    avg(holdings.holding_days) as mean_holding_days,
    bool_or(winners.study is not null) as is_winner
from cheap_trials
left join holdings using (study, trial)
left join winners
    on winners.study = cheap_trials.study
    and winners.interval = cheap_trials.interval
    and winners.lookback = cheap_trials.lookback
group by cheap_trials.study, cheap_trials.interval, cheap_trials.lookback
order by cheap_trials.study desc, mean_score desc
