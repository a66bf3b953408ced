/*
description: >
  What the checks of bars found, as it stands: checking a day again replaces its rows. Checks of the record as a whole
  (missing_symbols, stale, filled_share) have the day on which they looked, so the newest day of them counts.
grain: one row per interval, day, check and symbol
columns:
  day: UTC day of the bars' opens; for checks of the whole record the day of the look.
  interval: Length of the checked bars.
  check: Name of the check (gaps, halts, duplicates, ohlc_order, ...).
  symbol: Checked pair.
  severity: What a failure means, warn or error; an error blocks everything that follows.
  passed: Whether the bars are good.
  n_bad: Bars that fail.
  n_checked: Bars that were looked at.
  figure: Share or size of the flaw, as the check defines it.
  detail: Where the worst case is; holes are named with their whole length, halts apart, also where they run over several days.
  checked_at_utc: Clock time of the check.
  bars_fingerprint: >
    Sum over the bars of the symbol's day as they were checked, of a number that follows their values; a day with
    another sum is checked again. Empty without bars, and for checks of the whole record.
tests:
  - not_null: [day, interval, check, symbol, severity, passed, checked_at_utc]
  - unique: [interval, day, check, symbol]
  - accepted: {severity: [warn, error]}
  - expression: n_bad <= n_checked
*/
create table ops.data_quality (
    checked_at_utc timestamp not null,
    interval varchar not null,
    "check" varchar not null,
    symbol varchar not null,
    severity varchar not null,
    passed boolean not null,
    n_bad bigint not null,
    n_checked bigint not null,
    figure double not null,
    detail varchar not null,
    -- May be empty only so that older warehouses can be migrated; the next check removes their rows.
    day date,
    bars_fingerprint bigint
);
