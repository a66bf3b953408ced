/*
description: >
  Completed models of each study by their score on its folds, with the baselines of the same bars between them, and beside
  that what became of them on bars that nobody chose them by: in the arena's range, and in the holdout.
grain: one row per study and model or baseline
columns:
  study: Training study, study of trees, or of ensembles.
  family: ppo or apg (the learner of a network), trees, ensemble, or baseline.
  rank: Place by Sharpe on the folds within the study, models and baselines together; empty without a fold.
  subject: STUDY/TRIAL of a model, or the name of a baseline.
  is_baseline: Whether it is a baseline.
  is_simulated: Whether the bars are simulated.
  stage: Present stage of a model.
  gate_passed: Whether the arena's gate let it in (arena.gates); empty when it was not asked.
  sharpe_annualized: Mean over the folds (an ensemble - the bars after its members' training).
  arena_sharpe_annualized: On the study's range of the arena, as a whole; empty until its holdout is opened.
  holdout_sharpe_annualized: In the holdout; empty until it is opened.
  total_return_frac: Mean over the folds, after costs.
  alpha_frac: Mean over the folds; return above equal-weight buy-and-hold.
  holdout_alpha_frac: In the holdout; return above equal-weight buy-and-hold.
  p_random_timing: >
    Share of accounts with its exposure at other times that did as well in the holdout (lab.skill). About one half for who
    was only there. Known of the best by score.
  p_entry_permutation: The same with its holds and gaps in another order.
  beta: In the holdout, of its daily returns to those of equal-weight buy-and-hold.
  alpha_t: In the holdout, t-value of the daily return that the market does not explain.
  max_drawdown_frac: Largest over the folds.
  exposure_frac: Mean over the folds.
  turnover_per_day: Mean over the folds.
  trades_per_month: Mean over the folds.
  n_folds: Folds behind the figures; 0 for a baseline that was measured on later bars only.
  collapsed: How an agent's policies collapsed (lab.trials); empty when they decide.
tests:
  - unique: [study, subject]
  - accepted: {family: [ppo, apg, trees, ensemble, baseline]}
  - expression: (rank is null) = (n_folds = 0)
  - expression: p_random_timing is null or (p_random_timing > 0 and p_random_timing <= 1)
examples:
  - name: folds are averaged, later bars stand beside them, and a timeframe search has no place
    given:
      lab.studies:
        - {study: s, kind: training, as_of_utc: 2025-01-02, is_simulated: false}
        - {study: q, kind: timeframe, as_of_utc: 2025-01-01, is_simulated: false}
      lab.trials:
        - {study: s, trial: 0, state: complete, parameters: '{"learner": "apg"}'}
        - {study: s, trial: 1, state: complete, parameters: '{}'}
        - {study: s, trial: 2, state: pruned, parameters: '{}'}
        - {study: q, trial: 0, state: complete, parameters: '{}'}
      lab.evaluations:
        - {study: s, trial: 0, subject: agent, scope: validation, fold: 0, sharpe_annualized: 1.0, max_drawdown_frac: 0.1}
        - {study: s, trial: 0, subject: agent, scope: validation, fold: 1, sharpe_annualized: 2.0, max_drawdown_frac: 0.3}
        - {study: s, trial: 0, subject: agent, scope: holdout, fold: 0, sharpe_annualized: -3.0, alpha_frac: -0.1, max_drawdown_frac: 0.9}
        - {study: s, trial: 0, subject: agent, scope: paper, fold: 0, sharpe_annualized: 50.0, max_drawdown_frac: 0.9}
        - {study: s, trial: 1, subject: agent, scope: validation, fold: 0, sharpe_annualized: 0.25, max_drawdown_frac: 0.2}
        - {study: s, trial: 2, subject: agent, scope: validation, fold: 0, sharpe_annualized: -4.0, max_drawdown_frac: 0.2}
        - {study: s, trial: -1, subject: momentum, scope: validation, fold: 0, sharpe_annualized: 0.5, max_drawdown_frac: 0.2}
        - {study: s, trial: -1, subject: momentum, scope: arena, fold: 0, sharpe_annualized: 0.75, max_drawdown_frac: 0.2}
        - {study: q, trial: 0, subject: agent, scope: validation, fold: 0, sharpe_annualized: 8.0, max_drawdown_frac: 0.2}
      lab.skill:
        - {study: s, trial: 0, scope: holdout, p_random_timing: 0.5, p_entry_permutation: 0.25, beta: 0.75, alpha_t: -1.0}
        - {study: s, trial: 0, scope: arena, p_random_timing: 0.125, p_entry_permutation: 0.125, beta: 0.5, alpha_t: 2.0}
      arena.gates:
        - {study: s, trial: 0, passed: true}
        - {study: s, trial: 1, passed: false}
    expect:
      - {study: s, family: apg, rank: 1, subject: s/0, gate_passed: true, sharpe_annualized: 1.5, arena_sharpe_annualized: null, holdout_sharpe_annualized: -3.0, holdout_alpha_frac: -0.1, p_random_timing: 0.5, p_entry_permutation: 0.25, beta: 0.75, alpha_t: -1.0, max_drawdown_frac: 0.3, n_folds: 2}
      - {study: s, family: baseline, rank: 2, subject: momentum, gate_passed: null, sharpe_annualized: 0.5, arena_sharpe_annualized: 0.75, holdout_sharpe_annualized: null, p_random_timing: null, max_drawdown_frac: 0.2, n_folds: 1}
      - {study: s, family: ppo, rank: 3, subject: s/1, gate_passed: false, sharpe_annualized: 0.25, p_random_timing: null, max_drawdown_frac: 0.2, n_folds: 1}
  - name: baselines that were measured in the holdout only stand below, without a rank
    given:
      lab.studies:
        - {study: t, kind: trees, as_of_utc: 2025-01-02, is_simulated: true}
      lab.trials:
        - {study: t, trial: 0, state: complete, parameters: '{"learner": "lightgbm"}'}
      lab.evaluations:
        - {study: t, trial: 0, subject: agent, scope: validation, fold: 0, sharpe_annualized: -1.0}
        - {study: t, trial: 0, subject: agent, scope: holdout, fold: 0, sharpe_annualized: 1.0}
        - {study: t, trial: -1, subject: cash, scope: holdout, fold: 0, sharpe_annualized: 0.0}
    expect:
      - {study: t, family: trees, rank: 1, subject: t/0, sharpe_annualized: -1.0, holdout_sharpe_annualized: 1.0, n_folds: 1}
      - {study: t, family: baseline, rank: null, subject: cash, sharpe_annualized: null, holdout_sharpe_annualized: 0.0, n_folds: 0}
*/
with searched as (
    select study, kind, as_of_utc, is_simulated
    from lab.studies
    where kind in ('training', 'trees', 'ensemble')
),

completed as (
    select
        study,
        trial,
        case kind
            -- Agents of before there was a choice do not say how they learned.
            when 'training' then coalesce(parameters ->> 'learner', 'ppo')
            else kind
        end as family,
        collapsed
    from lab.trials
    inner join searched using (study)
    where state = 'complete'
),

entered as (
    select study, trial, passed as gate_passed from arena.gates
),

standing as (
    select study, trial, stage from promotion.stages
),

luck as (
    select study, trial, p_random_timing, p_entry_permutation, beta, alpha_t
    from lab.skill
    where scope = 'holdout'
),

measured as (
    select
        study,
        trial,
        if(trial < 0, subject, study || '/' || trial) as subject,
        avg(sharpe_annualized) filter (where scope = 'validation') as sharpe_annualized,
        any_value(sharpe_annualized) filter (where scope = 'arena') as arena_sharpe_annualized,
        any_value(sharpe_annualized) filter (where scope = 'holdout') as holdout_sharpe_annualized,
        avg(total_return_frac) filter (where scope = 'validation') as total_return_frac,
        avg(alpha_frac) filter (where scope = 'validation') as alpha_frac,
        any_value(alpha_frac) filter (where scope = 'holdout') as holdout_alpha_frac,
        max(max_drawdown_frac) filter (where scope = 'validation') as max_drawdown_frac,
        avg(exposure_frac) filter (where scope = 'validation') as exposure_frac,
        avg(turnover_per_day) filter (where scope = 'validation') as turnover_per_day,
        avg(trades_per_month) filter (where scope = 'validation') as trades_per_month,
        count(*) filter (where scope = 'validation') as n_folds
    from lab.evaluations
    where scope <> 'paper'
    group by all
)

select
    measured.study,
    if(measured.trial < 0, 'baseline', completed.family) as family,
    if(
        measured.n_folds > 0,
        rank() over (partition by measured.study order by measured.sharpe_annualized desc nulls last),
        null
    ) as rank,
    measured.subject,
    measured.trial < 0 as is_baseline,
    searched.is_simulated,
    standing.stage,
    entered.gate_passed,
    measured.sharpe_annualized,
    measured.arena_sharpe_annualized,
    measured.holdout_sharpe_annualized,
    measured.total_return_frac,
    measured.alpha_frac,
    measured.holdout_alpha_frac,
    luck.p_random_timing,
    luck.p_entry_permutation,
    luck.beta,
    luck.alpha_t,
    measured.max_drawdown_frac,
    measured.exposure_frac,
    measured.turnover_per_day,
    measured.trades_per_month,
    measured.n_folds,
    completed.collapsed
from measured
inner join searched using (study)
left join completed using (study, trial)
left join entered using (study, trial)
left join standing using (study, trial)
left join luck using (study, trial)
where measured.trial < 0 or completed.study is not null
order by
    searched.as_of_utc desc,
    list_position(['training', 'trees', 'ensemble'], searched.kind),
    measured.study desc,
    rank nulls last,
    measured.subject
