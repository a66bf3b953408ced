/*
description: The virtual account of every model that trades on paper, as of its newest traded bar.
grain: one row per model
columns:
  study: Study of the model.
  trial: Trial of the model.
  opened_at_utc: When the account was opened.
  traded_until_utc: Close of the newest bar that it has traded through.
  cash_usd: Money that it started with.
  state: Cash, positions and the state of every risk rule, as JSON.
  kept_by: >
    Who trades it: `desk`, the asset that trades bars, or `trader`, the process whose ledger desk.trader_accounts copies.
tests:
  - unique: [study, trial]
  - accepted: {kept_by: [desk, trader]}
*/
create table desk.accounts (
    study varchar not null,
    trial bigint not null,
    opened_at_utc timestamp not null,
    traded_until_utc timestamp not null,
    cash_usd double not null,
    state varchar not null,
    kept_by varchar not null default 'desk',
    primary key (study, trial)
);
