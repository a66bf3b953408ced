/*
description: What each calendar month (UTC) of a backtest brought, for the subject and everybody beside it.
grain: one row per backtest, subject and month
columns:
  backtest: Name of the backtest.
  subject: The subject of the backtest, the name of a baseline, or market.
  year: Year.
  month: Month, from 1.
  n_days: Days of the range in it.
  return_frac: Value at its end over value at its beginning, minus 1; of months in part, the part.
tests:
  - unique: [backtest, subject, year, month]
examples:
  - name: the first month begins with the opening value, each later one with the end of the one before
    given:
      lab.backtests:
        - {backtest: b, cash_usd: 100}
      lab.backtest_days:
        - {backtest: b, subject: s, day: 2025-01-30, value_usd: 90}
        - {backtest: b, subject: s, day: 2025-01-31, value_usd: 110}
        - {backtest: b, subject: s, day: 2025-02-01, value_usd: 121}
    expect:
      - {backtest: b, subject: s, year: 2025, month: 1, n_days: 2, return_frac: 0.1}
      - {backtest: b, subject: s, year: 2025, month: 2, n_days: 1, return_frac: 0.1}
*/
with ends as (
    select
        backtest,
        subject,
        year(day) as year,
        month(day) as month,
        count(*) as n_days,
        arg_max(value_usd, day) as value_usd
    from lab.backtest_days
    group by all
)

select
    ends.backtest,
    ends.subject,
    ends.year,
    ends.month,
    ends.n_days,
    round(
        ends.value_usd / lag(ends.value_usd, 1, lab.backtests.cash_usd)
            over (partition by ends.backtest, ends.subject order by ends.year, ends.month) - 1,
        12
    ) as return_frac
from ends
inner join lab.backtests using (backtest)
order by ends.backtest, ends.subject, ends.year, ends.month
