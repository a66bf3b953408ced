/*
description: What became of every replay, how far it has come, and what the system earned beside the best baseline.
grain: one row per replay
columns:
  replay: Name of the replay.
  state: running (or stopped in the middle) or complete.
  from_utc: First moment.
  to_utc: Last moment.
  moment_utc: Newest moment that is finished; empty before the first.
  source: Where the bars came from.
  is_simulated: Whether the bars are simulated.
  profile: Profile of the settings.
  n_days: Days with a return; empty before the first, as all figures of the system are.
  total_return_frac: What the system gained, after costs.
  alpha_frac: That minus buy-and-hold without costs on the same days.
  sharpe_annualized: From daily returns, with 365 days a year.
  max_drawdown_frac: Largest fall of the system from a peak.
  best_baseline: Who of the others gained most; of equals the first by name.
  best_baseline_return_frac: What that one gained.
  n_studies: Studies that were run to their end.
  n_stopped: Jobs that an error stopped.
  production: Model in production at that moment, as study/trial; empty when nobody was.
  duration_s: Seconds that the finished moments took.
tests:
  - unique: [replay]
examples:
  - name: figures of the system, the best of the others, and who was left in production
    given:
      replay.runs:
        - {replay: r, state: complete, is_simulated: true, moment_utc: 2025-03-01}
        - {replay: young, state: running, is_simulated: false}
      replay.measures:
        - {replay: r, subject: system, n_days: 28, total_return_frac: 0.05, alpha_frac: -0.03, sharpe_annualized: 1.5, max_drawdown_frac: 0.1}
        - {replay: r, subject: cash, total_return_frac: 0.0}
        - {replay: r, subject: momentum, total_return_frac: 0.08}
        - {replay: r, subject: equal_weight, total_return_frac: 0.08}
      replay.steps:
        - {replay: r, moment_utc: 2025-02-01, job: whole_life, state: done}
        - {replay: r, moment_utc: 2025-02-02, job: whole_life, state: stopped}
        - {replay: r, moment_utc: 2025-02-02, job: trading, state: done}
      replay.decisions:
        - {replay: r, sequence: 1, study: s, trial: 1, from_stage: null, to_stage: arena}
        - {replay: r, sequence: 2, study: s, trial: 1, from_stage: sandbox, to_stage: production}
        - {replay: r, sequence: 3, study: s, trial: 1, from_stage: production, to_stage: retired}
        - {replay: r, sequence: 4, study: s, trial: 2, from_stage: sandbox, to_stage: production}
        - {replay: r, sequence: 5, study: s, trial: 3, from_stage: null, to_stage: arena}
    expect:
      - {replay: r, state: complete, n_days: 28, total_return_frac: 0.05, alpha_frac: -0.03, best_baseline: equal_weight, best_baseline_return_frac: 0.08, n_studies: 1, n_stopped: 1, production: s/2}
      - {replay: young, state: running, n_days: null, total_return_frac: null, alpha_frac: null, best_baseline: null, best_baseline_return_frac: null, n_studies: 0, n_stopped: 0, production: null}
  - name: who left production without an heir leaves nobody there
    given:
      replay.runs:
        - {replay: r, state: running}
      replay.decisions:
        - {replay: r, sequence: 1, study: s, trial: 1, from_stage: sandbox, to_stage: production}
        - {replay: r, sequence: 2, study: s, trial: 1, from_stage: production, to_stage: retired}
    expect:
      - {replay: r, production: null}
*/
with system as (
    select * from replay.measures where subject = 'system'
),

others as (
    select
        replay,
        first(subject order by total_return_frac desc, subject) as best_baseline,
        max(total_return_frac) as best_baseline_return_frac
    from replay.measures
    where subject <> 'system'
    group by replay
),

work as (
    select
        replay,
        count(*) filter (where job = 'whole_life' and state = 'done') as n_studies,
        count(*) filter (where state = 'stopped') as n_stopped
    from replay.steps
    group by replay
),

standing as (
    select
        replay,
        arg_max_null(if(to_stage = 'production', study || '/' || trial, null), sequence) as production
    from replay.decisions
    where 'production' in (from_stage, to_stage)
    group by replay
)

select
    replay.runs.replay,
    replay.runs.state,
    replay.runs.from_utc,
    replay.runs.to_utc,
    replay.runs.moment_utc,
    replay.runs.source,
    replay.runs.is_simulated,
    replay.runs.profile,
    system.n_days,
    system.total_return_frac,
    system.alpha_frac,
    system.sharpe_annualized,
    system.max_drawdown_frac,
    others.best_baseline,
    others.best_baseline_return_frac,
    coalesce(work.n_studies, 0) as n_studies,
    coalesce(work.n_stopped, 0) as n_stopped,
    standing.production,
    replay.runs.duration_s
from replay.runs
left join system on system.replay = replay.runs.replay
left join others on others.replay = replay.runs.replay
left join work on work.replay = replay.runs.replay
left join standing on standing.replay = replay.runs.replay
order by replay.runs.from_utc, replay.runs.replay
