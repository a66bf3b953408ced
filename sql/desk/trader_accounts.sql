/*
description: >
  Every account of the trader, virtual and real, as the ledger knows it: a copy, brought up to date by key.
grain: one row per account
columns:
  account: >
    Account of the trader: STUDY/TRIAL of a virtual one, the broker's name of a real one.
  broker: >
    Who keeps it: simulated, alpaca, coinbase.
  market: Source of the prices that it is traded at (simulated, alpaca, coinbase); positions of one are closed on another.
  stage: Stage of the model that trades it.
  study: Study of the model that trades it now.
  trial: Trial of that model.
  symbols: Pairs that it can hold, a JSON list; the lists in `state` and in its decisions are in this order.
  interval: Length of the model's bars.
  opened_at_utc: When it was opened.
  cash_usd: Money that it started with.
  state: >
    Cash, positions and the state of every risk rule, as JSON: a list has one number per symbol.
  decided_at_utc: Close of the newest bar that was decided on, or let pass.
  marked_at_utc: Close of the newest bar that its value was taken at.
  opening_closes: >
    Closes of the bar that was decided on first, a JSON list: what buy-and-hold would have paid.
  foreign_units: >
    What the venue's account holds beside ours, as JSON {symbol or USD: decimal text}: never touched.
  trouble: Why nothing is bought; empty when all is well.
  closed_at_utc: When it was closed; empty while it is open.
  venue_account: >
    What the venue calls its account (a portfolio's id, say): orders go to no other. Empty of a virtual one.
  version: Number of the transaction of the ledger that wrote the row last.
tests:
  - unique: [account]
  - accepted: {broker: [simulated, alpaca, coinbase]}
  - positive: [cash_usd]
*/
create table desk.trader_accounts (
    account varchar not null,
    broker varchar not null,
    market varchar not null,
    stage varchar not null,
    study varchar not null,
    trial bigint not null,
    symbols varchar not null,
    interval varchar not null,
    opened_at_utc timestamp not null,
    cash_usd double not null,
    state varchar not null,
    decided_at_utc timestamp,
    marked_at_utc timestamp,
    opening_closes varchar,
    foreign_units varchar not null,
    trouble varchar not null,
    closed_at_utc timestamp,
    venue_account varchar not null default '',
    version bigint not null,
    primary key (account)
);
