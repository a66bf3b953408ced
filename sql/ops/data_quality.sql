/*
description: Every quality check of bars with its figures; the newest rows of a symbol and check are its state.
grain: one row per moment of checking, check and symbol
columns:
  checked_at_utc: Clock time of the check.
  interval: Length of the checked bars.
  check: Name of the check (gaps, duplicates, ohlc_order, ...).
  symbol: Checked pair.
  severity: What a failure means, warn or error; an error blocks everything that follows.
  passed: Whether the bars are good.
  n_bad: Bars that fail.
  n_checked: Bars that were looked at.
  figure: Share or size of the flaw, as the check defines it.
  detail: Where the worst case is.
tests:
  - not_null: [checked_at_utc, check, symbol, severity, passed]
  - accepted: {severity: [warn, error]}
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
    detail varchar not null
);
