/*
description: >
  Every open account of the trader as of what was copied last: what it is worth and what stands in its way. Ages are
  counted up to the newest heartbeat; how old that is, a clock has to tell.
grain: one row per open account
columns:
  account: Account of the trader.
  broker: Who keeps it.
  stage: Stage of the model that trades it.
  study: Study of the model.
  trial: Trial of the model.
  value_usd: Value at the newest look, or at the newest bar before the first look; the opening cash before both.
  return_frac: Gain since the account was opened.
  exposure_frac: Share of the value that is not cash.
  n_open_orders: Orders that are not over.
  trouble: Why nothing is bought; empty when all is well.
  last_decision_utc: Clock time of the newest decision at a bar's close.
  decision_age_s: Seconds from then to the newest heartbeat.
  heartbeat_at_utc: Clock time of the newest heartbeat.
tests:
  - unique: [account]
examples:
  - name: the newest look counts, closed accounts do not
    given:
      desk.trader_accounts:
        - {account: s/1, broker: simulated, stage: sandbox, study: s, trial: 1, symbols: '[]', interval: 1h, opened_at_utc: 2025-01-01 00:00:00, cash_usd: 1000, state: '{}', foreign_units: '{}', trouble: '', version: 1}
        - {account: s/2, broker: simulated, stage: sandbox, study: s, trial: 2, symbols: '[]', interval: 1h, opened_at_utc: 2025-01-01 00:00:00, cash_usd: 1000, state: '{}', foreign_units: '{}', trouble: '', closed_at_utc: 2025-01-02 00:00:00, version: 1}
      desk.looks:
        - {account: s/1, at_utc: 2025-01-01 01:00:00, value_usd: 900, cash_usd: 900, exposure_frac: 0, version: 2}
        - {account: s/1, at_utc: 2025-01-01 01:01:00, value_usd: 1100, cash_usd: 550, exposure_frac: 0.5, version: 3}
      desk.decisions:
        - {decision: d, account: s/1, study: s, trial: 1, kind: bar, closed_at_utc: 2025-01-01 01:00:00, decided_at_utc: 2025-01-01 01:00:10, marks: '[]', quotes: '{}', wanted: '[]', rules: 0, state: '{}', latency_s: 1, version: 2}
      desk.heartbeats:
        - {at_utc: 2025-01-01 01:01:10, pid: 1, phase: sleep, poll: 1, took_s: 1, memory_mb: 1, open_files: 1, accounts: 1, trouble: '', version: 3}
    expect:
      - {account: s/1, value_usd: 1100, return_frac: 0.1, exposure_frac: 0.5, n_open_orders: 0, decision_age_s: 60}
*/
with newest_look as (
    select
        account,
        arg_max(value_usd, at_utc) as value_usd,
        arg_max(exposure_frac, at_utc) as exposure_frac
    from desk.looks
    group by account
),

newest_bar as (
    select
        account,
        arg_max(value_usd, closed_at_utc) as value_usd,
        arg_max(exposure_frac, closed_at_utc) as exposure_frac
    from desk.trader_equity
    group by account
),

newest_decision as (
    select account, max(decided_at_utc) as last_decision_utc
    from desk.decisions
    where kind = 'bar'
    group by account
),

waiting as (
    select account, count(*) as n_open_orders
    from desk.open_orders
    group by account
),

alive as (
    select max(at_utc) as heartbeat_at_utc from desk.heartbeats
),

valued as (
    select
        *,
        coalesce(newest_look.value_usd, newest_bar.value_usd, desk.trader_accounts.cash_usd) as worth_usd,
        coalesce(newest_look.exposure_frac, newest_bar.exposure_frac, 0) as exposed_frac
    from desk.trader_accounts
    left join newest_look using (account)
    left join newest_bar using (account)
    left join newest_decision using (account)
    left join waiting using (account)
    cross join alive
    where desk.trader_accounts.closed_at_utc is null
)

select
    account,
    broker,
    stage,
    study,
    trial,
    worth_usd as value_usd,
    worth_usd / cash_usd - 1 as return_frac,
    exposed_frac as exposure_frac,
    coalesce(n_open_orders, 0) as n_open_orders,
    trouble,
    last_decision_utc,
    date_diff('second', last_decision_utc, heartbeat_at_utc) as decision_age_s,
    heartbeat_at_utc
from valued
order by list_position(['live', 'production', 'sandbox'], stage), account
