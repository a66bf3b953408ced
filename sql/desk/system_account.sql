/*
description: >
  The account of the system itself, not of one model: it follows whoever is in production, and is in cash while nobody
  is. Opened once, and as of its newest row in desk.system_equity.
grain: one row, or none before the first decision on a model
columns:
  opened_at_utc: When the account was opened, in cash.
  traded_until_utc: Close of its newest bar or day; the opening before the first.
  cash_usd: Money that it started with.
  symbols: Pairs that it can hold, in the order of the lists in `state`.
  study: Study of the model that traded the newest bar; empty when nobody did.
  trial: Trial of that model.
  interval: Bar interval of that model.
  state: Cash, positions and the state of every risk rule, as JSON.
tests:
  - unique: [opened_at_utc]
  - expression: (select count(*) from desk.system_account) = 1
  - expression: traded_until_utc >= opened_at_utc
  - expression: (study is null) = (interval is null)
*/
create table desk.system_account (
    opened_at_utc timestamp primary key,
    traded_until_utc timestamp not null,
    cash_usd double not null,
    symbols varchar[] not null,
    study varchar,
    trial bigint,
    interval varchar,
    state varchar not null
);
