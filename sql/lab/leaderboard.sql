/*
description: Completed trials of each training study by walk-forward score, with the baselines of the same folds between them.
grain: one row per training study and agent or baseline
columns:
  study: Training study.
  rank: Place by Sharpe within the study, agents and baselines together.
  subject: STUDY/TRIAL of an agent, or the name of a baseline.
  is_baseline: Whether it is a baseline.
  is_simulated: Whether the bars are simulated.
  stage: Present stage of an agent.
  sharpe_annualized: Mean over the folds.
  total_return_frac: Mean over the folds, after costs.
  alpha_frac: Mean over the folds; return above equal-weight buy-and-hold.
  max_drawdown_frac: Largest over the folds.
  exposure_frac: Mean over the folds.
  turnover_per_day: Mean over the folds.
  trades_per_month: Mean over the folds.
  n_folds: Folds behind the figures.
  collapsed: How an agent's policies collapsed (lab.trials); empty when they decide.
*/
with walk_forward as (
    select *
    from lab.evaluations
    where
        scope = 'validation'
        and study in (select study from lab.studies where kind = 'training')
        and (trial < 0 or (study, trial) in (select (study, trial) from lab.trials where state = 'complete'))
),

standing as (
    select study, trial, stage from promotion.stages
),

conduct as (
    select study, trial, collapsed from lab.trials
),

averaged as (
    select
        study,
        trial,
        if(trial < 0, subject, study || '/' || trial) as subject,
        trial < 0 as is_baseline,
        avg(sharpe_annualized) as sharpe_annualized,
        avg(total_return_frac) as total_return_frac,
        avg(alpha_frac) as alpha_frac,
        max(max_drawdown_frac) as max_drawdown_frac,
        avg(exposure_frac) as exposure_frac,
        avg(turnover_per_day) as turnover_per_day,
        avg(trades_per_month) as trades_per_month,
        count(*) as n_folds
    from walk_forward
    group by all
)

select
    averaged.study,
    rank() over (partition by averaged.study order by averaged.sharpe_annualized desc) as rank,
    averaged.subject,
    averaged.is_baseline,
    lab.studies.is_simulated,
    standing.stage,
    averaged.sharpe_annualized,
    averaged.total_return_frac,
    averaged.alpha_frac,
    averaged.max_drawdown_frac,
    averaged.exposure_frac,
    averaged.turnover_per_day,
    averaged.trades_per_month,
    averaged.n_folds,
    conduct.collapsed
from averaged
inner join lab.studies using (study)
left join standing using (study, trial)
left join conduct using (study, trial)
order by averaged.study desc, rank, averaged.subject
