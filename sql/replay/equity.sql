/*
description: What the system was worth at the end of each day of a replay, beside the baselines; all of it out of sample.
grain: one row per replay, subject and day
columns:
  replay: Name of the replay.
  subject: system, buy_and_hold, or the name of a baseline.
  closed_at_utc: End of the day.
  value_usd: Value of the account, after costs.
tests:
  - unique: [replay, subject, closed_at_utc]
  - positive: [value_usd]
*/
create table replay.equity (
    replay varchar not null,
    subject varchar not null,
    closed_at_utc timestamp not null,
    value_usd double not null,
    primary key (replay, subject, closed_at_utc)
);
