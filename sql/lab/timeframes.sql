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
  is_winner: Whether training uses this pair.
*/
with cheap_trials as (
    select *
    from lab.trials
    where study in (select study from lab.studies where kind = 'timeframe')
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
    bool_or(winners.study is not null) as is_winner
from cheap_trials
left join winners
    on winners.study = cheap_trials.study
    and winners.interval = cheap_trials.interval
    and winners.lookback = cheap_trials.lookback
group by cheap_trials.study, cheap_trials.interval, cheap_trials.lookback
order by cheap_trials.study desc, mean_score desc
