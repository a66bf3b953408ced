/*
description: What every paper account has done since it was opened, after costs.
grain: one row per model
columns:
  study: Study of the model.
  trial: Trial of the model.
  stage: Present stage of the model.
  from_utc: When its account was opened.
  to_utc: Close of its newest bar.
  bars: Bars traded.
  value_usd: Value of the account.
  total_return_frac: Gain since the opening, after costs.
  benchmark_return_frac: Gain of equal-weight buy-and-hold since the opening.
  alpha_frac: The one minus the other.
  max_drawdown_frac: Largest fall from a peak.
  exposure_frac: Mean share of the value that is not cash.
  fee_usd: Fees paid.
  slippage_usd: Slippage paid.
*/
with bars as (
    select
        study,
        trial,
        desk.equity.closed_at_utc,
        desk.equity.value_usd,
        desk.equity.benchmark_usd,
        desk.equity.exposure_frac,
        desk.equity.fee_usd,
        desk.equity.slippage_usd,
        -- The opening value is the first peak.
        greatest(
            desk.accounts.cash_usd,
            max(desk.equity.value_usd) over (
                partition by study, trial order by desk.equity.closed_at_utc
                rows between unbounded preceding and current row
            )
        ) as peak_usd
    from desk.equity
    inner join desk.accounts using (study, trial)
    -- A model that came back has an account anew; its bars of before are another account's.
    where desk.equity.closed_at_utc > desk.accounts.opened_at_utc
),

totals as (
    select
        study,
        trial,
        max(closed_at_utc) as to_utc,
        count(*) as bars,
        arg_max(value_usd, closed_at_utc) as value_usd,
        arg_max(benchmark_usd, closed_at_utc) as benchmark_usd,
        max(1 - value_usd / peak_usd) as max_drawdown_frac,
        avg(exposure_frac) as exposure_frac,
        sum(fee_usd) as fee_usd,
        sum(slippage_usd) as slippage_usd
    from bars
    group by study, trial
),

standing as (
    select study, trial, stage from promotion.stages
)

select
    study,
    trial,
    standing.stage,
    desk.accounts.opened_at_utc as from_utc,
    totals.to_utc,
    totals.bars,
    totals.value_usd,
    totals.value_usd / desk.accounts.cash_usd - 1 as total_return_frac,
    totals.benchmark_usd / desk.accounts.cash_usd - 1 as benchmark_return_frac,
    (totals.value_usd - totals.benchmark_usd) / desk.accounts.cash_usd as alpha_frac,
    totals.max_drawdown_frac,
    totals.exposure_frac,
    totals.fee_usd,
    totals.slippage_usd
from totals
inner join desk.accounts using (study, trial)
left join standing using (study, trial)
order by list_position(['live', 'production', 'sandbox', 'retired'], standing.stage), total_return_frac desc
