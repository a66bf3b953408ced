/*
description: >
  What the subject of a backtest, every baseline and the market (equal-weight buy-and-hold without costs) were worth at
  the end of each UTC day.
grain: one row per backtest, subject and day
columns:
  backtest: Name of the backtest.
  subject: The subject of the backtest, the name of a baseline, or market.
  day: The UTC day.
  closed_at_utc: Last close of the day; midnight belongs to the day that it ends.
  value_usd: Value, after costs.
tests:
  - unique: [backtest, subject, day]
*/
create table lab.backtest_days (
    backtest varchar not null,
    subject varchar not null,
    day date not null,
    closed_at_utc timestamp not null,
    value_usd double not null,
    primary key (backtest, subject, day)
);
